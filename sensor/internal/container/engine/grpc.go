package engine

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// conn is a gRPC connection that is made when it is needed.
type conn struct {
	cfg  Config
	name string
	mu   sync.Mutex
	cc   *grpc.ClientConn // guarded by mu
}

func (c *conn) Name() string   { return c.name }
func (c *conn) Socket() string { return c.cfg.Socket }

func (c *conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cc != nil {
		c.cc.Close()
		c.cc = nil
	}
}

// client returns the connection, which belongs to c.
func (c *conn) client() (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cc != nil {
		return c.cc, nil
	}
	cc, err := grpc.NewClient("passthrough:///"+c.name,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of this machine's, guarded by its file's mode
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.cfg.dial(ctx) }),
		grpc.WithAuthority("localhost"),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(idleTime),
		grpc.WithMaxHeaderListSize(64<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	c.cc = cc
	return cc, nil
}

// failed turns the error of a call into one of ours. A service that isn't there knows no container; a connection that broke
// is given up, so that the next call doesn't wait for gRPC's own idea of when to try again.
func (c *conn) failed(err error) error {
	switch status.Code(err) {
	case codes.NotFound, codes.Unimplemented:
		return fmt.Errorf("%s: %w", c.name, ErrNotFound)
	case codes.Unavailable, codes.DeadlineExceeded:
		c.Close()
	}
	return fmt.Errorf("%s: %w", c.name, err)
}
