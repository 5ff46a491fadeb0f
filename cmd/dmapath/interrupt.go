package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string {
	if i.signal == syscall.SIGTERM {
		return "terminated"
	}
	return "interrupted"
}

// exitCode is that of a shell whose command died of the signal: 130 for SIGINT, 143 for SIGTERM.
func (i interrupted) exitCode() int { return 128 + int(i.signal) }

// untilSignal returns a context that SIGINT or SIGTERM ends. The first signal lets a command throw away what it has not finished; a
// second one ends the program at once. A signal that was ignored when the program began (nohup, a job of a script in the background)
// stays ignored.
func untilSignal(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	c := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	go func() {
		s := <-c
		signal.Stop(c)
		cancel(interrupted{s.(syscall.Signal)})
	}()
	return ctx
}

// cause is the interruption that ended ctx, nil when none did.
func cause(ctx context.Context) *interrupted {
	if ctx.Err() == nil {
		return nil
	}
	var i interrupted
	if !errors.As(context.Cause(ctx), &i) {
		i.signal = syscall.SIGINT // a test's
	}
	return &i
}

// interruptible runs work until it is done or ctx is. A simulation cannot be stopped in the middle: when ctx is done first, work is
// left behind and the program is expected to end.
func interruptible(ctx context.Context, work func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
