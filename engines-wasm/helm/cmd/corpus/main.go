// Command corpus compares the engine with the helm command over every chart of
// a folder: a line per chart, and a last line `N equal, M different, K failed`.
//
//	corpus --helm PATH [--render COMMAND] [--ci] [--out FOLDER] FOLDER
//
// Charts that helm itself cannot render, for missing dependencies or required
// values, do not count; that the engine refuses them too is checked. The exit
// code is 0 when nothing is different or failed, 1 when something is, 2 when
// the comparison could not be made.
//
// Without --render the engine's logic runs in this process. With it, COMMAND
// is run for every chart as
//
//	COMMAND --definition FOLDER --section JSON --out FOLDER
//
// and shall render the resource whose catalog definition is that folder and
// whose `helm:` section is that JSON, and write each manifest below --out.
package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

func main() {
	// Helm's packages log what they find odd in charts; the comparison is of
	// manifests.
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))

	helm := flag.String("helm", os.Getenv("NESTOR_HELM"), "the helm command to compare with")
	command := flag.String("render", "", "command that renders in place of this process")
	ci := flag.Bool("ci", false, "also with each values file of a chart's ci/ folder")
	out := flag.String("out", "", "folder for the engine's manifests, a file per chart, and report.txt")
	jobs := flag.Int("jobs", max(1, runtime.NumCPU()), "charts compared at once")
	only := flag.String("only", "", "only charts whose path contains this")
	flag.Parse()
	if flag.NArg() != 1 || *helm == "" {
		fmt.Fprintln(os.Stderr, "usage: corpus --helm PATH [--render COMMAND] [--ci] [--out FOLDER] FOLDER")
		os.Exit(2)
	}
	var r renderer = inProcess{}
	if *command != "" {
		r = external(strings.Fields(*command))
	}
	different, err := run(os.Stdout, flag.Arg(0), comparison{helm: *helm, ours: r}, settings{*ci, *out, *jobs, *only})
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(2)
	}
	if different {
		os.Exit(1)
	}
}

type settings struct {
	ci   bool
	out  string
	jobs int
	only string
}

func run(stdout io.Writer, folder string, c comparison, s settings) (bool, error) {
	subjects, err := find(folder, s.ci)
	if err != nil {
		return false, err
	}
	kept := subjects[:0]
	for _, subject := range subjects {
		if strings.Contains(subject.name, s.only) {
			kept = append(kept, subject)
		}
	}
	subjects = kept
	if len(subjects) == 0 {
		return false, fmt.Errorf("no chart below %s", folder)
	}

	verdicts := make([]chan verdict, len(subjects))
	for i := range verdicts {
		verdicts[i] = make(chan verdict, 1)
	}
	var work sync.WaitGroup
	next := make(chan int)
	for range s.jobs {
		work.Go(func() {
			for i := range next {
				verdicts[i] <- c.compare(subjects[i])
			}
		})
	}
	go func() {
		for i := range subjects {
			next <- i
		}
		close(next)
	}()

	var report strings.Builder
	lines := io.MultiWriter(stdout, &report)
	counts := map[outcome]int{}
	for i, subject := range subjects {
		v := <-verdicts[i]
		counts[v.outcome]++
		fmt.Fprintln(lines, line(subject.name, v))
		if s.out != "" && v.ours != "" {
			if err := write(filepath.Join(s.out, fileName(subject.name)), v.ours); err != nil {
				return false, err
			}
		}
	}
	work.Wait()
	if n := counts[notRendered]; n > 0 {
		fmt.Fprintf(lines, "%d that helm cannot render do not count\n", n)
	}
	fmt.Fprintf(lines, "%d equal, %d different, %d failed\n", counts[equal], counts[different], counts[failed])
	if s.out != "" {
		if err := write(filepath.Join(s.out, "report.txt"), report.String()); err != nil {
			return false, err
		}
	}
	return counts[different]+counts[failed] > 0, nil
}

func line(name string, v verdict) string {
	text := fmt.Sprintf("%-9s %s", v.outcome, name)
	if v.detail != "" {
		const shown = 400
		detail := strings.Join(strings.Fields(v.detail), " ")
		if len(detail) > shown {
			detail = strings.ToValidUTF8(detail[:shown], "") + "…"
		}
		text += ": " + detail
	}
	return text
}

func fileName(name string) string {
	return strings.NewReplacer("/", "__", " ", "_").Replace(name) + ".yaml"
}

func write(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
