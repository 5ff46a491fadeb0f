package bench

import "dmapath/platform"

// Again is a run that is repeated to be looked at closely: for a profile or a timeline. A caller that has run something already runs it again with
// the same result.
type Again struct {
	Label    string // tells runs of equal coordinates apart: a platform, a side of a comparison; may be empty
	Platform *platform.Spec
	Exp      Experiment
	Point    Point
}

// Again lists the runs of x on s in the order of its points.
func (x *Experiment) Again(s *platform.Spec, label string) ([]Again, error) {
	if err := x.Validate(s); err != nil {
		return nil, err
	}
	var runs []Again
	for _, p := range x.Points() {
		runs = append(runs, Again{label, s, *x, p})
	}
	return runs, nil
}

// name names a run by its coordinates.
func (a *Again) name() string {
	if a.Label == "" {
		return a.Point.String()
	}
	return a.Label + ": " + a.Point.String()
}

// Again lists the runs of both sides of a Diff.
func (s Side) Again() ([]Again, error) { return s.Exp.Again(s.Platform, s.Label) }
