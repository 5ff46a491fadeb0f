package workloads

import (
	"errors"
	"fmt"
)

// Range is one configured number with what is allowed.
type Range struct {
	Key           string
	Value, Lo, Hi int64
}

// Ranges is a list of numbers to check together.
type Ranges []Range

// Check returns one error that lists every number out of range, nil when there is none.
func (rs Ranges) Check() error {
	var errs []error
	for _, r := range rs {
		if r.Value < r.Lo || r.Value > r.Hi {
			errs = append(errs, fmt.Errorf("%s is %d: allowed are %d to %d", r.Key, r.Value, r.Lo, r.Hi))
		}
	}
	return errors.Join(errs...)
}
