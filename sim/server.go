package sim

import "fmt"

// Server is a resource that serves one request after the other in the order of the calls, such as a link or a DRAM bus.
// It needs no event: it remembers when it is free next. The zero value is a free, unnamed server.
//
// A caller that runs ahead of the engine's time may ask for an earlier now than the caller before it did; it is served
// after that one all the same. Segments bound how far ahead that can be.
type Server struct {
	Name string

	Served uint64 // requests
	Busy   Time   // total service time
	Waited Time   // total time that requests waited for their service to start

	free Time
}

// Serve books service time for a request that arrives at now and returns when its service starts and ends.
func (s *Server) Serve(now, service Time) (start, done Time) {
	start = max(now, s.free)
	done = start + service
	s.free = done
	s.Served++
	s.Busy += service
	s.Waited += start - now
	return start, done
}

// Free returns when the server is free, which may lie in the past.
func (s *Server) Free() Time { return s.free }

// Describe says which server this is and until when it is busy.
func (s *Server) Describe() string {
	return fmt.Sprintf("server %s busy until %v", named(s.Name), s.free)
}

// Servers are n equal servers with one queue, such as page walkers or DRAM banks that take any request. Requests are
// served in the order of the calls by the server that is free first; of several free ones, the lowest numbered.
type Servers struct {
	Name string

	Served uint64 // requests
	Busy   Time   // total service time over all servers
	Waited Time   // total time that requests waited for their service to start

	free  []Time
	taken int // servers between Take and Release
}

// NewServers returns n >= 1 free servers.
func NewServers(name string, n int) *Servers {
	if n < 1 {
		panic(fmt.Sprintf("sim: %d servers %s: at least 1", n, name))
	}
	return &Servers{Name: name, free: make([]Time, n)}
}

// Serve books service time for a request that arrives at now and returns when its service starts and ends.
func (s *Servers) Serve(now, service Time) (start, done Time) {
	i, start := s.Take(now)
	done = start + service
	s.Release(i, start, done)
	return start, done
}

// Take reserves a server for a request that arrives at now and whose end is not known yet, and returns which one and
// when it is free. Until Release nobody else gets it; when all are reserved, Take panics.
func (s *Servers) Take(now Time) (i int, start Time) {
	for j, f := range s.free {
		if f < s.free[i] {
			i = j
		}
		if f <= now {
			i = j
			break
		}
	}
	if s.free[i] == Never {
		panic("sim: all of " + s.Describe() + " are reserved")
	}
	start = max(now, s.free[i])
	s.free[i] = Never
	s.taken++
	s.Served++
	s.Waited += start - now
	return i, start
}

// Release ends the service that Take reserved server i for: it lasted from start to done.
func (s *Servers) Release(i int, start, done Time) {
	if s.free[i] != Never {
		panic("sim: release of a server of " + s.Describe() + " that nobody took")
	}
	s.free[i] = done
	s.taken--
	s.Busy += done - start
}

// Len returns how many servers there are.
func (s *Servers) Len() int { return len(s.free) }

// InUse returns how many servers are busy at now.
func (s *Servers) InUse(now Time) int {
	n := 0
	for _, f := range s.free {
		if f > now {
			n++
		}
	}
	return n
}

// Free returns when a server is free, which may lie in the past; Never if all are reserved.
func (s *Servers) Free() Time {
	t := Never
	for _, f := range s.free {
		t = min(t, f)
	}
	return t
}

// Describe says which servers these are and when the next is free.
func (s *Servers) Describe() string {
	if s.taken == len(s.free) {
		return fmt.Sprintf("%d servers %s, all reserved", len(s.free), named(s.Name))
	}
	return fmt.Sprintf("%d servers %s, next free at %v", len(s.free), named(s.Name), s.Free())
}
