// What the load process is asked to do, what it answers, and how the times of many workers become one result.
package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type job struct {
	// One of the names in run.
	Kind string `json:"kind"`
	// host:port
	Address     string `json:"address"`
	Connections int    `json:"connections"`
	// What is in flight on each connection.
	Streams    int `json:"streams"`
	DurationMs int `json:"durationMs"`
	// Bytes of a message, or of one bulk transfer.
	Bytes int `json:"bytes"`
	// Requests a second over all; 0: as many as are answered.
	Rate int        `json:"rate"`
	TLS  *tlsOfJob  `json:"tls"`
	HTTP *httpOfJob `json:"http"`
}

type tlsOfJob struct {
	KeyPem    string `json:"keyPem"`
	ChainPem  string `json:"chainPem"`
	BundlePem string `json:"bundlePem"`
	// The server's SPIFFE id, nobody else.
	ServerId string `json:"serverId"`
	Alpn     string `json:"alpn"`
	// Shows the ticket of the connection before.
	IsResumed bool `json:"isResumed"`
}

type httpOfJob struct {
	Path      string `json:"path"`
	Authority string `json:"authority"`
}

type result struct {
	Requests     int     `json:"requests"`
	Failures     int     `json:"failures"`
	FirstFailure string  `json:"firstFailure,omitempty"`
	ElapsedMs    float64 `json:"elapsedMs"`
	P50Us        float64 `json:"p50Us"`
	P90Us        float64 `json:"p90Us"`
	P99Us        float64 `json:"p99Us"`
	// Of new connections: those that needed no certificate.
	Resumed int `json:"resumed"`
}

func run(of job) (result, error) {
	switch of.Kind {
	case "grpc-unary":
		return loadUnary(of)
	case "grpc-server-stream":
		return loadServerStream(of)
	case "grpc-bidi":
		return loadBidi(of)
	case "tcp-ping":
		return loadPing(of)
	case "tcp-down", "tcp-up":
		return loadBulk(of)
	case "connections":
		return loadConnections(of)
	}
	return result{}, fmt.Errorf("cannot run a job of kind %q", of.Kind)
}

// tally is what one worker saw; nobody else writes to it.
type tally struct {
	timesNs      []int64
	failures     int
	firstFailure string
	resumed      int
}

// answered counts one that was asked, or due, at that time.
func (t *tally) answered(since time.Time) {
	t.timesNs = append(t.timesNs, int64(time.Since(since)))
}

func (t *tally) failed(err error) {
	t.failures++
	if t.firstFailure == "" {
		t.firstFailure = err.Error()
	}
}

// workers runs n of them at once until each returns.
func workers(n int, work func(at int, t *tally)) result {
	tallies := make([]tally, n)
	var group sync.WaitGroup
	started := time.Now()
	for at := range n {
		group.Go(func() { work(at, &tallies[at]) })
	}
	group.Wait()
	return sum(tallies, time.Since(started))
}

func sum(tallies []tally, elapsed time.Duration) result {
	all := result{ElapsedMs: float64(elapsed) / float64(time.Millisecond)}
	var times []int64
	for _, t := range tallies {
		times = append(times, t.timesNs...)
		all.Failures += t.failures
		all.Resumed += t.resumed
		if all.FirstFailure == "" {
			all.FirstFailure = t.firstFailure
		}
	}
	slices.Sort(times)
	all.Requests = len(times)
	all.P50Us = quantileUs(times, 0.5)
	all.P90Us = quantileUs(times, 0.9)
	all.P99Us = quantileUs(times, 0.99)
	return all
}

func quantileUs(sortedNs []int64, share float64) float64 {
	if len(sortedNs) == 0 {
		return 0
	}
	at := min(int(share*float64(len(sortedNs))), len(sortedNs)-1)
	return float64(sortedNs[at]) / 1e3
}

// pacer says when the next request is due: at once, or at fixed times shared by all workers.
type pacer struct {
	started time.Time
	until   time.Time
	every   time.Duration
	next    atomic.Int64
}

func newPacer(of job) *pacer {
	now := time.Now()
	p := &pacer{started: now, until: now.Add(time.Duration(of.DurationMs) * time.Millisecond)}
	if of.Rate > 0 {
		p.every = time.Second / time.Duration(of.Rate)
	}
	return p
}

// due waits until the next request is due. False: there is none any more.
func (p *pacer) due() (time.Time, bool) {
	if p.every == 0 {
		now := time.Now()
		return now, now.Before(p.until)
	}
	at := p.started.Add(time.Duration(p.next.Add(1)-1) * p.every)
	if !at.Before(p.until) {
		return at, false
	}
	time.Sleep(time.Until(at))
	return at, true
}
