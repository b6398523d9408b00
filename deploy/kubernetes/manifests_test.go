// Package kubernetes checks the manifests in this directory: `make check-deploy`.
package kubernetes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// read decodes strictly: an unknown field is an error.
func read[T any](t *testing.T, path string, kind string) T {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var object T
	if err := yaml.UnmarshalStrict(content, &object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(content, &meta); err != nil || meta.APIVersion+" "+meta.Kind != kind {
		t.Fatalf("%s is %s %s (%v), want %s", path, meta.APIVersion, meta.Kind, err, kind)
	}
	return object
}

func deployment(t *testing.T) appsv1.Deployment {
	return read[appsv1.Deployment](t, "deployment.yaml", "apps/v1 Deployment")
}

func env(container corev1.Container) map[string]string {
	all := map[string]string{}
	for _, e := range container.Env {
		all[e.Name] = e.Value
	}
	return all
}

func TestThePodHasTimeToDrain(t *testing.T) {
	pod := deployment(t).Spec.Template.Spec
	drain, err := time.ParseDuration(env(pod.Containers[0])["TERASOCKET_DRAIN_TIME"])
	if err != nil {
		t.Fatal(err)
	}
	const ends = 4 * time.Second // after the drain time (docs/operators.md)
	needed := drain + ends + time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds)*time.Second
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= needed {
		t.Errorf("%s of grace, but stopping takes %s", grace, needed)
	}
}

func TestProbes(t *testing.T) {
	container := deployment(t).Spec.Template.Spec.Containers[0]
	ports := map[string]int32{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for name, probe := range map[string]struct {
		probe *corev1.Probe
		path  string
	}{
		"startup":   {container.StartupProbe, "/healthz"},
		"liveness":  {container.LivenessProbe, "/healthz"}, // not /readyz: an unreachable database must not restart all gateways
		"readiness": {container.ReadinessProbe, "/readyz"},
	} {
		if probe.probe == nil || probe.probe.HTTPGet.Path != probe.path || ports[probe.probe.HTTPGet.Port.String()] != 4051 {
			t.Errorf("%s: %+v", name, probe.probe)
		}
	}
	set := env(container)
	if set["TERASOCKET_LISTEN"] != ":4050" || set["TERASOCKET_ADMIN_LISTEN"] != ":4051" || ports["sockets"] != 4050 {
		t.Errorf("%v listens elsewhere than %v", set, ports)
	}
}

func TestSelectorsMeetThePod(t *testing.T) {
	d := deployment(t)
	pod := labels.Set(d.Spec.Template.Labels)
	service := read[corev1.Service](t, "service.yaml", "v1 Service")
	budget := read[policyv1.PodDisruptionBudget](t, "disruption-budget.yaml", "policy/v1 PodDisruptionBudget")
	network := read[networkingv1.NetworkPolicy](t, "network-policy.yaml", "networking.k8s.io/v1 NetworkPolicy")
	for name, selector := range map[string]map[string]string{
		"deployment": d.Spec.Selector.MatchLabels, "service": service.Spec.Selector,
		"disruption budget": budget.Spec.Selector.MatchLabels, "network policy": network.Spec.PodSelector.MatchLabels,
	} {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(pod) {
			t.Errorf("the %s selects %v, the pod is %v", name, selector, pod)
		}
	}
	if budget.Spec.MaxUnavailable.IntValue() >= int(*d.Spec.Replicas) {
		t.Error("the disruption budget lets all pods go at once")
	}
	known := map[string]bool{}
	for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
		known[p.Name] = true
	}
	for _, p := range service.Spec.Ports {
		if !known[p.TargetPort.StrVal] {
			t.Errorf("the service leads to %s", p.TargetPort.StrVal)
		}
		if p.TargetPort.StrVal == "admin" {
			t.Error("the service publishes the admin address, which has no password")
		}
	}
	for _, rule := range network.Spec.Ingress {
		if len(rule.From) == 0 {
			t.Error("the network policy lets everybody in")
		}
		for _, p := range rule.Ports {
			if !known[p.Port.StrVal] {
				t.Errorf("the network policy names port %s", p.Port.StrVal)
			}
		}
	}
}

func TestPodsMayDoNothingElse(t *testing.T) {
	for name, pod := range map[string]corev1.PodSpec{
		"deployment": deployment(t).Spec.Template.Spec,
		"migrate":    read[batchv1.Job](t, "migrate.yaml", "batch/v1 Job").Spec.Template.Spec,
	} {
		c := pod.Containers[0]
		switch s, cs := pod.SecurityContext, c.SecurityContext; {
		case !*s.RunAsNonRoot, *s.RunAsUser == 0, s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault,
			*cs.AllowPrivilegeEscalation, !*cs.ReadOnlyRootFilesystem, !slices.Equal(cs.Capabilities.Drop, []corev1.Capability{"ALL"}),
			*pod.AutomountServiceAccountToken, *pod.EnableServiceLinks, c.Resources.Limits.Memory().IsZero():
			t.Errorf("%s: %+v, %+v", name, s, cs)
		}
		// secrets come in files
		for variable, value := range env(c) {
			if strings.Contains(value, "postgres://") {
				t.Errorf("%s: %s holds a URL", name, variable)
			}
		}
		mounted := false
		for _, m := range c.VolumeMounts {
			mounted = mounted || filepath.Dir(env(c)["TERASOCKET_DATABASE_URL_FILE"]) == m.MountPath
		}
		if !mounted || pod.Volumes[0].Secret == nil {
			t.Errorf("%s: no Secret is mounted at %s", name, env(c)["TERASOCKET_DATABASE_URL_FILE"])
		}
	}
}

func TestKustomizationNamesTheFiles(t *testing.T) {
	content, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
	}
	if err := yaml.UnmarshalStrict(content, &k); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	alone := []string{"kustomization.yaml", "migrate.yaml"} // a Job of each version
	for _, file := range files {
		if slices.Contains(k.Resources, file) == slices.Contains(alone, file) {
			t.Errorf("kustomization.yaml: %s", file)
		}
	}
	if len(files) != len(k.Resources)+len(alone) {
		t.Errorf("kustomization.yaml names %v, here are %v", k.Resources, files)
	}
}
