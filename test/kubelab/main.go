// Command kubelab is one binary that is etcd, kube-apiserver,
// kube-controller-manager, kubectl or helm, by the name it is called under
// (a symbolic link) or by its first argument.
//
// One binary, since all but etcd share most of their code: it is compiled and
// linked once. What starts them with which keys and flags is
// test/support/kubelab.ts, which takes the plain programs as well.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // CronJobs with time zones, on machines without a zone database

	_ "k8s.io/client-go/plugin/pkg/client/auth"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// programs are what this binary can be; each uses os.Args as if it were alone.
var programs = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          runAPIServer,
	"kube-controller-manager": runControllerManager,
	"kubectl":                 runKubectl,
	"helm":                    runHelm,
}

func main() {
	if run, ok := programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	if len(os.Args) > 1 {
		if run, ok := programs[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			os.Exit(run())
		}
	}
	fmt.Fprintf(os.Stderr, "usage: kubelab %s [argument ...]\n", strings.Join(names(), "|"))
	os.Exit(2)
}

func names() []string {
	all := make([]string, 0, len(programs))
	for name := range programs {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
