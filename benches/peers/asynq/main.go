// Asynq in the words of the benchmark (benches/README.md): commands on standard input, JSON lines on standard output.
//
//	asynq redis://HOST:PORT
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sys/unix"
)

var payload = []byte(`{"p":"` + strings.Repeat("x", 92) + `"}`) // 100 bytes

// peer is a client, and the worker once there is one.
type peer struct {
	redis   asynq.RedisConnOpt
	client  *asynq.Client
	ids     atomic.Int64
	handled atomic.Int64
	first   atomic.Int64
	last    atomic.Int64
	out     sync.Mutex
}

func main() {
	redis, err := asynq.ParseRedisURI(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p := &peer{redis: redis, client: asynq.NewClient(redis)}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := p.answer(strings.Fields(lines.Text()))
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		p.tell(answer)
	}
}

func (p *peer) tell(answer map[string]any) {
	line, err := json.Marshal(answer)
	if err != nil {
		line = []byte(`{"error":"the answer is no JSON"}`)
	}
	p.out.Lock()
	defer p.out.Unlock()
	fmt.Println(string(line))
}

func (p *peer) answer(words []string) (map[string]any, error) {
	if len(words) == 0 {
		return nil, fmt.Errorf("there is no command")
	}
	number := func(at int) int {
		if at >= len(words) {
			return 0
		}
		value, _ := strconv.Atoi(words[at])
		return value
	}
	switch words[0] {
	case "hello":
		return map[string]any{"version": version()}, p.client.Ping()
	case "callers":
		return repeat(number(1), number(2), p.enqueue)
	case "ping":
		return repeat(1, number(1), p.client.Ping)
	case "send":
		at := monotonic()
		return map[string]any{"at": at}, p.enqueue()
	case "work":
		return map[string]any{}, p.work(number(1), words[2] == "tell")
	case "handled":
		return map[string]any{"handled": p.handled.Load(), "first": p.first.Load(), "last": p.last.Load()}, nil
	}
	return nil, fmt.Errorf("there is no command '%s'", words[0])
}

func (p *peer) enqueue() error {
	id := fmt.Sprintf("task-%015d", p.ids.Add(1))
	_, err := p.client.Enqueue(asynq.NewTask("nothing", payload), asynq.TaskID(id))
	return err
}

func (p *peer) work(slots int, tells bool) error {
	server := asynq.NewServer(p.redis, asynq.Config{Concurrency: slots, LogLevel: asynq.ErrorLevel})
	return server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		now := monotonic()
		p.first.CompareAndSwap(0, now)
		p.last.Store(now)
		p.handled.Add(1)
		if tells {
			p.tell(map[string]any{"started": now})
		}
		return nil
	}))
}

// repeat tells the seconds that so many calls take of which so many are under way at a time.
func repeat(callers, calls int, call func() error) (map[string]any, error) {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	began := time.Now()
	for range callers {
		all.Go(func() {
			for next.Add(1) <= int64(calls) && failed.Load() == nil {
				if err := call(); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return map[string]any{"seconds": time.Since(began).Seconds()}, nil
}

// monotonic is the machine's monotonic clock, in nanoseconds: one clock for all processes.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return now.Nano()
}

func version() string {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/hibiken/asynq" {
			return fmt.Sprintf("asynq %s, %s", module.Version, runtime.Version())
		}
	}
	return "asynq"
}
