package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
)

// docker speaks the Docker Engine API (v1.40 and later), which Podman has too.
type docker struct {
	cfg  Config
	name string
	kind uint32
	http *http.Client
}

// NewDocker asks a Docker daemon.
func NewDocker(c Config) Engine { return newDocker(c, "docker", container.KindDocker) }

// NewPodman asks Podman's API service by its Docker-compatible half.
func NewPodman(c Config) Engine { return newDocker(c, "podman", container.KindPodman) }

func newDocker(c Config, name string, kind uint32) *docker {
	return &docker{cfg: c, name: name, kind: kind, http: &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
			MaxConnsPerHost:        2,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        idleTime,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (d *docker) Name() string   { return d.name }
func (d *docker) Socket() string { return d.cfg.Socket }
func (d *docker) Close()         { d.http.CloseIdleConnections() }

// dockerContainer is what is read of GET /containers/ID/json.
type dockerContainer struct {
	ID      string `json:"Id"`
	Created string
	Name    string
	Image   string // id
	Mounts  []struct {
		Name, Source, Destination, Mode, Propagation string
		RW                                           bool
	}
	Config struct {
		Image, User string
		Env         []string
		Labels      map[string]string
	}
	HostConfig struct {
		Privileged                                bool
		NetworkMode, IpcMode, PidMode, CpusetCpus string
		CPUShares                                 int64 `json:"CpuShares"`
		CPUQuota                                  int64 `json:"CpuQuota"`
		CPUPeriod                                 int64 `json:"CpuPeriod"`
		Memory, MemorySwap                        int64
	}
	NetworkSettings struct {
		IPAddress string
		Networks  map[string]*struct{ IPAddress string }
		Ports     map[string][]struct{ HostIP, HostPort string }
	}
}

// dockerImage is what is read of GET /images/ID/json.
type dockerImage struct {
	RepoTags    []string
	RepoDigests []string
}

func (d *docker) Get(ctx context.Context, id, _ string) (*container.Info, error) {
	var c dockerContainer
	if err := d.get(ctx, "/containers/"+url.PathEscape(id)+"/json", &c); err != nil {
		return nil, err
	}
	if c.ID != id {
		return nil, fmt.Errorf("%s: %w", d.name, ErrNotFound) // a name of another that reads like this id
	}
	var img dockerImage
	if c.Image != "" {
		// An image may be gone while its container still runs: then the rest has to do.
		_ = d.get(ctx, "/images/"+url.PathEscape(c.Image)+"/json", &img)
	}
	in := d.info(&c, &img)
	if with, ok := strings.CutPrefix(c.HostConfig.NetworkMode, "container:"); ok && in.IP == "" {
		var other dockerContainer
		if err := d.get(ctx, "/containers/"+url.PathEscape(with)+"/json", &other); err == nil {
			in.IP = other.ip()
		}
	}
	in.Bound()
	return in, nil
}

// get reads one JSON answer.
func (d *docker) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.name+path, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", d.name, ErrNotFound)
	default:
		return fmt.Errorf("%s: %s", d.name, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("%s: the answer has more than %d bytes", d.name, maxAnswer)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	return nil
}

// info makes an Info of the two answers.
func (d *docker) info(c *dockerContainer, img *dockerImage) *container.Info {
	hc := &c.HostConfig
	in := &container.Info{
		ID: string(container.Short([]byte(c.ID), d.kind)), FullID: c.ID, Kind: d.kind, Name: strings.TrimPrefix(c.Name, "/"), User: c.Config.User,
		IP: c.ip(), Env: c.Config.Env, Privileged: hc.Privileged, HostPID: hc.PidMode == "host", HostNetwork: hc.NetworkMode == "host",
		HostIPC: hc.IpcMode == "host", Memory: hc.Memory, Swap: hc.MemorySwap, CPUShares: hc.CPUShares, CPUQuota: hc.CPUQuota,
		CPUPeriod: hc.CPUPeriod, CPUSetSize: cpus(hc.CpusetCpus),
	}
	in.SetImage(c.Config.Image)
	in.ImageID = container.TrimDigest(c.Image)
	if in.Repository == "" || strings.HasPrefix(in.ImageID, in.Repository) && len(in.Repository) >= 12 {
		// It was made by the image's id: take a name that the image has.
		if len(img.RepoTags) > 0 {
			in.SetImage(img.RepoTags[0])
		}
	}
	if in.Digest == "" {
		for i, r := range img.RepoDigests {
			if repo, digest, ok := strings.Cut(r, "@"); ok && (i == 0 || repo == in.Repository) {
				in.Digest = digest
			}
		}
	}
	in.Labels, _ = container.SetLabels(c.Config.Labels, d.cfg.LabelMax)
	// Kubernetes by way of cri-dockerd.
	in.SandboxID, _ = in.Label("io.kubernetes.sandbox.id")
	if kind, _ := in.Label("io.kubernetes.docker.type"); kind == "podsandbox" {
		in.Sandbox, in.SandboxID, in.PodLabels = true, c.ID, in.Labels
	}
	if t, err := time.Parse(time.RFC3339Nano, c.Created); err == nil && t.Unix() > 0 {
		in.Created = t.Unix()
	}
	for _, m := range c.Mounts {
		in.Mounts = append(in.Mounts, container.Mount{Source: m.Source, Destination: m.Destination, Mode: m.Mode, RW: m.RW, Propagation: m.Propagation})
	}
	for port, to := range c.NetworkSettings.Ports {
		number, _, _ := strings.Cut(port, "/")
		inside, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			continue
		}
		for _, b := range to {
			outside, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil {
				continue
			}
			p := container.Port{HostPort: uint16(outside), ContainerPort: int(inside)}
			if a, err := netip.ParseAddr(b.HostIP); err == nil && a.Is4() {
				x := a.As4()
				p.HostIP = uint32(x[0])<<24 | uint32(x[1])<<16 | uint32(x[2])<<8 | uint32(x[3])
			}
			in.Ports = append(in.Ports, p)
		}
	}
	return in
}

// ip returns the container's address: the default network's, else that of the network whose name comes first.
func (c *dockerContainer) ip() string {
	if c.NetworkSettings.IPAddress != "" {
		return c.NetworkSettings.IPAddress
	}
	best, ip := "", ""
	for name, n := range c.NetworkSettings.Networks {
		if n != nil && n.IPAddress != "" && (ip == "" || name < best) {
			best, ip = name, n.IPAddress
		}
	}
	return ip
}
