// A web server whose pages each make Go work.
package main

import (
	"crypto/sha256"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// primes sends numbers through a chain of goroutines, one for each prime.
func primes(count int) int {
	numbers := make(chan int)
	done := make(chan struct{})
	send := func(out chan<- int, number int) bool {
		select {
		case out <- number:
			return true
		case <-done:
			return false
		}
	}
	go func() {
		for n := 2; send(numbers, n); n++ {
		}
	}()
	source, last := numbers, 0
	for i := 0; i < count; i++ {
		last = <-source
		in, out, prime := source, make(chan int), last
		go func() {
			for {
				select {
				case n := <-in:
					if n%prime != 0 && !send(out, n) {
						return
					}
				case <-done:
					return
				}
			}
		}()
		source = out
	}
	close(done)
	return last
}

func parallel() string {
	var group sync.WaitGroup
	var mutex sync.Mutex
	total := 0
	for worker := 0; worker < 200; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			sum := sha256.Sum256(make([]byte, 100000))
			time.Sleep(time.Duration(worker%5) * time.Millisecond)
			mutex.Lock()
			total += int(sum[0]) + worker
			mutex.Unlock()
		}(worker)
	}
	group.Wait()
	return fmt.Sprint(total)
}

func garbage() string {
	var live [100][]byte
	for i := 0; i < 20000; i++ {
		live[i%100] = make([]byte, 20000)
	}
	var statistics runtime.MemStats
	runtime.ReadMemStats(&statistics)
	return fmt.Sprint(statistics.NumGC > 5, len(live[99]))
}

// preempted waits for a goroutine that never gives its CPU away: only a signal stops it.
func preempted() string {
	previous := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(previous)
	stop, x := false, 0
	go func() {
		for !stop {
			x++
		}
	}()
	time.Sleep(50 * time.Millisecond)
	stop = true
	return "preempted"
}

func nilPointer() (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	var request *http.Request
	return request.Host
}

func processes() string {
	command := exec.Command("tr", "a-z", "A-Z")
	command.Stdin = strings.NewReader("through tr")
	text, err := command.Output()
	failed := exec.Command("/bin/sh", "-c", "exit 3").Run()
	return fmt.Sprint(string(text), " ", err, " ", failed)
}

func main() {
	pages := map[string]func() string{
		"/":          func() string { return "hello from go" },
		"/primes":    func() string { return fmt.Sprint(primes(200)) },
		"/parallel":  parallel,
		"/garbage":   garbage,
		"/preempted": preempted,
		"/processes": processes,
		"/nil":       nilPointer,
		"/cpus":      func() string { return fmt.Sprint(runtime.NumCPU()) },
		"/hostname":  func() string { name, _ := os.Hostname(); return name },
	}
	for path, page := range pages {
		page := page
		http.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page()) })
	}
	log.Fatal(http.ListenAndServe(":8000", nil))
}
