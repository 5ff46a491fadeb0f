package sim

import "fmt"

// lockTrack is where a lock is shown, and its last owner's slice there.
type lockTrack struct {
	timeline *Timeline
	track    TrackID
	last     SliceID
	released Time
}

// trackOf returns the track of a lock. Locks of the same name have a track each.
func (l *Timeline) trackOf(k *Lock) TrackID {
	if k.shown.timeline == l {
		return k.shown.track
	}
	first := "lock " + named(k.Name)
	n := 1
	for i := range l.Tracks {
		if l.Tracks[i].first == first {
			n++
		}
	}
	name := first
	if n > 1 {
		name = fmt.Sprintf("%s (%d)", first, n)
	}
	l.Tracks = append(l.Tracks, Track{Name: name, Kind: Apart, first: first})
	k.shown = lockTrack{timeline: l, track: TrackID(len(l.Tracks) - 1)}
	return k.shown.track
}

// held shows that p, which releases the lock now, has owned it.
func (l *Timeline) held(k *Lock, p *Proc) {
	track := l.trackOf(k)
	k.shown.last, k.shown.released = 0, p.e.now
	if k.since >= l.Start && k.since < p.e.now {
		k.shown.last = l.Slice(track, p.Name, k.since, p.e.now, Num("waiting", int64(k.queue.n)))
	}
}

// waited shows that p has waited for the lock, which it owns now. holder owned it when p came, ahead others waited already.
func (l *Timeline) waited(k *Lock, p, holder *Proc, ahead int) {
	if p.since < l.Start {
		return
	}
	l.trackOf(k)
	s := l.Slice(l.TrackOf(p), "waits for "+named(k.Name), p.since, p.e.now, Text("held by", holder.Name), Num("ahead", int64(ahead)))
	if k.shown.last != 0 && k.shown.released >= p.since {
		l.Arrow("lock handed over", k.shown.last, k.shown.released, s, p.e.now)
	}
}
