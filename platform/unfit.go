package platform

// Unfit is the error of a machine that cannot be built or cannot take a device: every value of the platform is allowed, and they
// do not go together on the backend that was asked for. It is the configuration that is wrong, not the run.
type Unfit struct{ Err error }

func (u Unfit) Error() string { return u.Err.Error() }
func (u Unfit) Unwrap() error { return u.Err }

// unfit marks err, nil included, as one of the configuration.
func unfit(err error) error {
	if err == nil {
		return nil
	}
	return Unfit{err}
}
