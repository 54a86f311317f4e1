package packaging

import (
	"crypto/rand"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const caddyfileOfPods = "kubernetes/base/Caddyfile"

// cluster is what kubectl apply -k would send, each object read without leniency.
type cluster struct {
	deployments  map[string]*apps.Deployment
	statefulSets map[string]*apps.StatefulSet
	services     map[string]*core.Service
	configMaps   map[string]*core.ConfigMap
	accounts     map[string]*core.ServiceAccount
	roles        map[string]*rbac.Role
	bindings     map[string]*rbac.RoleBinding
	budgets      map[string]*policy.PodDisruptionBudget
	networks     map[string]*networking.NetworkPolicy
	autoscalers  map[string]*autoscaling.HorizontalPodAutoscaler
	scaled       map[string]*keda.ScaledObject
}

// keep reads an object into one of the cluster's maps.
func keep[T any](into *map[string]*T, name string, text []byte) error {
	object := new(T)
	if *into == nil {
		*into = make(map[string]*T)
	}
	(*into)[name] = object
	return yaml.UnmarshalStrict(text, object)
}

func kustomized(t *testing.T, folder string) (c cluster) {
	t.Helper()
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "kubernetes/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects.Resources() {
		text, err := object.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.add(object.GetApiVersion()+" "+object.GetKind(), object.GetName(), text); err != nil {
			t.Errorf("%s %s: %v\n%s", object.GetKind(), object.GetName(), err, text)
		}
		if object.GetNamespace() != "shop" {
			t.Errorf("%s %s is in namespace %q", object.GetKind(), object.GetName(), object.GetNamespace())
		}
	}
	return c
}

func (c *cluster) add(kind, name string, text []byte) error {
	switch kind {
	case "apps/v1 Deployment":
		return keep(&c.deployments, name, text)
	case "apps/v1 StatefulSet":
		return keep(&c.statefulSets, name, text)
	case "v1 Service":
		return keep(&c.services, name, text)
	case "v1 ConfigMap":
		return keep(&c.configMaps, name, text)
	case "v1 ServiceAccount":
		return keep(&c.accounts, name, text)
	case "rbac.authorization.k8s.io/v1 Role":
		return keep(&c.roles, name, text)
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		return keep(&c.bindings, name, text)
	case "policy/v1 PodDisruptionBudget":
		return keep(&c.budgets, name, text)
	case "networking.k8s.io/v1 NetworkPolicy":
		return keep(&c.networks, name, text)
	case "autoscaling/v2 HorizontalPodAutoscaler":
		return keep(&c.autoscalers, name, text)
	case "keda.sh/v1alpha1 ScaledObject":
		return keep(&c.scaled, name, text)
	}
	return fmt.Errorf("no test knows a %s", kind)
}

// templates are the pods of all workloads, by name.
func (c cluster) templates() map[string]core.PodTemplateSpec {
	all := make(map[string]core.PodTemplateSpec)
	for name, d := range c.deployments {
		all[name] = d.Spec.Template
	}
	for name, s := range c.statefulSets {
		all[name] = s.Spec.Template
	}
	return all
}

// selected are the workloads whose pods have the labels.
func (c cluster) selected(t *testing.T, want *metav1.LabelSelector) (names []string) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, template := range c.templates() {
		if selector.Matches(labels.Set(template.Labels)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// portOf is the number of a container's port, by name or number.
func portOf(template core.PodTemplateSpec, port intstr.IntOrString) int32 {
	for _, p := range template.Spec.Containers[0].Ports {
		if p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal {
			return p.ContainerPort
		}
	}
	return 0
}

func TestEverySelectorFindsItsPods(t *testing.T) {
	c := kustomized(t, "base")
	found := make(map[string]*metav1.LabelSelector)
	for name, d := range c.deployments {
		found["deployment "+name] = d.Spec.Selector
	}
	for name, s := range c.statefulSets {
		found["stateful set "+name] = s.Spec.Selector
	}
	for name, b := range c.budgets {
		found["budget "+name] = b.Spec.Selector
	}
	for name, n := range c.networks {
		found["network "+name] = &n.Spec.PodSelector
	}
	for name, s := range c.services {
		found["service "+name] = &metav1.LabelSelector{MatchLabels: s.Spec.Selector}
	}
	for where, selector := range found {
		_, name, _ := strings.Cut(where, " ")
		name = strings.TrimSuffix(strings.TrimPrefix(name, "set "), "-ops")
		if got := c.selected(t, selector); !slices.Equal(got, []string{name}) {
			t.Errorf("%s selects %q: want %s alone", where, got, name)
		}
	}
	if len(found) < 12 {
		t.Errorf("%d selectors were looked at: want those of three workloads", len(found))
	}
}

func TestEveryPortLeadsSomewhere(t *testing.T) {
	c := kustomized(t, "base")
	templates := c.templates()
	for name, s := range c.services {
		for _, p := range s.Spec.Ports {
			if portOf(templates[strings.TrimSuffix(name, "-ops")], p.TargetPort) == 0 {
				t.Errorf("service %s: no container has port %s", name, p.TargetPort.String())
			}
		}
	}
	for name, n := range c.networks {
		for _, rule := range n.Spec.Ingress {
			for _, p := range rule.Ports {
				if portOf(templates[name], *p.Port) == 0 {
					t.Errorf("network %s: no container has port %s", name, p.Port)
				}
			}
		}
	}
	listens := adapted(t, caddyfileOfPods, podEnv()).listens()
	for _, p := range templates["edge"].Spec.Containers[0].Ports {
		if !slices.Contains(listens, fmt.Sprintf(":%d", p.ContainerPort)) {
			t.Errorf("edge listens at %q, not at %d", listens, p.ContainerPort)
		}
	}
	container := templates["edge"].Spec.Containers[0]
	for name, probe := range map[string]*core.Probe{"startup": container.StartupProbe, "readiness": container.ReadinessProbe, "liveness": container.LivenessProbe} {
		if portOf(templates["edge"], probe.HTTPGet.Port) != 9180 || !slices.Contains([]string{"/.edge/readyz", "/.edge/healthz"}, probe.HTTPGet.Path) {
			t.Errorf("%s probe asks for %+v", name, probe.HTTPGet)
		}
	}
	listen := templates["app"].Spec.Containers[0].Args
	if i := slices.Index(listen, "--listen"); listen[i+1] != fmt.Sprintf(":%d", portOf(templates["app"], intstr.FromString("http"))) {
		t.Errorf("the application runs %q, at another port than its container's", listen)
	}
}

// podEnv is what the pod of edge has in its environment, secrets made up.
func podEnv() []string {
	return []string{"EDGE_STATE_DIR=/var/lib/edge/state", "POD_NAME=edge-1", "EDGE_TOKEN=" + token, "EDGE_REDIS_PASSWORD=" + rand.Text()}
}

func TestPodsEndInTime(t *testing.T) {
	c := kustomized(t, "base")
	end := map[string]time.Duration{
		"edge": ending(t, adapted(t, caddyfileOfPods, podEnv())),
		"app":  30 * time.Second, // as long as edge lets a replica drain
	}
	for name, d := range c.deployments {
		spec := d.Spec.Template.Spec
		before := spec.Containers[0].Lifecycle.PreStop.Sleep
		if before == nil || before.Seconds < 1 {
			t.Errorf("%s: no preStop sleep, and the image has no shell to wait with", name)
			continue
		}
		grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
		if least := time.Duration(before.Seconds)*time.Second + end[name]; grace < least+5*time.Second {
			t.Errorf("%s: terminationGracePeriodSeconds %s, and the end takes %s", name, grace, least)
		}
		if u := d.Spec.Strategy.RollingUpdate; u.MaxUnavailable.IntVal != 0 || u.MaxSurge.IntVal < 1 {
			t.Errorf("%s: a rollout takes pods away before there are others: %+v", name, u)
		}
	}
}

func TestPodsHaveNoRights(t *testing.T) {
	c := kustomized(t, "base")
	for name, template := range c.templates() {
		pod, container := template.Spec.SecurityContext, template.Spec.Containers[0].SecurityContext
		if !*pod.RunAsNonRoot || *pod.RunAsUser == 0 || pod.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault ||
			*container.AllowPrivilegeEscalation || !*container.ReadOnlyRootFilesystem || !slices.Equal(container.Capabilities.Drop, []core.Capability{"ALL"}) {
			t.Errorf("%s: %+v, %+v", name, pod, container)
		}
		if automounted := template.Spec.AutomountServiceAccountToken; *automounted != (name == "edge") {
			t.Errorf("%s has the API's token: %t", name, *automounted)
		}
	}
	want := []rbac.PolicyRule{{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}}}
	if got := c.roles["edge-discovery"].Rules; !reflect.DeepEqual(got, want) {
		t.Errorf("role %+v: want %+v", got, want)
	}
	binding := c.bindings["edge-discovery"]
	if binding.RoleRef.Name != "edge-discovery" || binding.Subjects[0].Name != c.deployments["edge"].Spec.Template.Spec.ServiceAccountName || c.accounts[binding.Subjects[0].Name] == nil {
		t.Errorf("binding %+v", binding)
	}
}

func TestPodsRunTheCheckedCaddyfile(t *testing.T) {
	c := kustomized(t, "base")
	pod := c.deployments["edge"].Spec.Template.Spec
	container := pod.Containers[0]
	var name string
	for _, v := range pod.Volumes {
		if v.ConfigMap != nil {
			name = v.ConfigMap.Name
		}
	}
	if got := c.configMaps[name]; got == nil || got.Data["Caddyfile"] != read(t, caddyfileOfPods) || !regexp.MustCompile(`^edge-\w+$`).MatchString(name) {
		t.Errorf("config map %q: want the Caddyfile, and its hash in the name", name)
	}
	i := slices.IndexFunc(container.VolumeMounts, func(m core.VolumeMount) bool { return m.Name == "caddyfile" })
	if want := container.VolumeMounts[i].MountPath + "/Caddyfile"; container.Args[len(container.Args)-1] != want {
		t.Errorf("edge runs %q: want %s", container.Args, want)
	}
	given := []string{"EDGE_STATE_DIR"} // by the image
	for _, e := range container.Env {
		given = append(given, e.Name)
		if s := e.ValueFrom.SecretKeyRef; s != nil && !strings.Contains(read(t, "kubernetes/base/kustomization.yaml"), "--from-literal="+s.Key+"=") {
			t.Errorf("%s: kustomization.yaml does not say how the secret's %s is made", e.Name, s.Key)
		}
	}
	for _, used := range regexp.MustCompile(`\{(?:\$|env\.)(\w+)\}`).FindAllStringSubmatch(read(t, caddyfileOfPods), -1) {
		if !slices.Contains(given, used[1]) {
			t.Errorf("the Caddyfile takes %s, which the pod does not have", used[1])
		}
	}
	config := adapted(t, caddyfileOfPods, podEnv())
	discover := config.Apps.Edge.Pools["app"].Discover[0]
	service := c.services[discover.Args[0]]
	if discover.Name != "kubernetes" || service == nil || service.Spec.Ports[0].Name != discover.Options["port"][0] || service.Spec.ClusterIP != core.ClusterIPNone {
		t.Errorf("edge discovers %+v, the service is %+v", discover, service)
	}
}

// The bounds stand in the Caddyfile and at the autoscaler.
func TestAutoscalersFollowThePool(t *testing.T) {
	pool := adapted(t, caddyfileOfPods, podEnv()).Apps.Edge.Pools["app"].Autoscale
	h := kustomized(t, "hpa").autoscalers["app"].Spec
	if int(*h.MinReplicas) != pool.Min || int(h.MaxReplicas) != pool.Max || h.ScaleTargetRef.Name != "app" {
		t.Errorf("hpa %+v: want the pool's %+v", h, pool)
	}
	if m := h.Metrics[0].External; m.Target.AverageValue.Value() != 1 || m.Target.Type != autoscaling.AverageValueMetricType || m.Metric.Selector.MatchLabels["pool"] != "app" {
		t.Errorf("hpa divides by %+v: want the number itself", m)
	}
	var adapter struct {
		Rules struct {
			External []struct {
				SeriesQuery string `json:"seriesQuery"`
				Resources   struct {
					Overrides map[string]struct{ Resource string }
				}
				Name         struct{ As string }
				MetricsQuery string `json:"metricsQuery"`
			}
		}
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, "kubernetes/hpa/adapter.yaml")), &adapter); err != nil {
		t.Fatal(err)
	}
	rule := adapter.Rules.External[0]
	if rule.Name.As != h.Metrics[0].External.Metric.Name {
		t.Errorf("the adapter offers %s, the autoscaler asks for %s", rule.Name.As, h.Metrics[0].External.Metric.Name)
	}
	s := kustomized(t, "keda").scaled["app"].Spec
	if int(*s.MinReplicaCount) != pool.Min || int(*s.MaxReplicaCount) != pool.Max || s.ScaleTargetRef.Name != "app" {
		t.Errorf("keda %+v: want the pool's %+v", s, pool)
	}
	trigger := s.Triggers[0]
	if trigger.Type != "prometheus" || trigger.MetricType != autoscaling.AverageValueMetricType || trigger.Metadata["threshold"] != "1" {
		t.Errorf("keda asks by %+v", trigger)
	}
	observed := read(t, "../docs/observability.md")
	for _, query := range []string{rule.SeriesQuery, rule.MetricsQuery, trigger.Metadata["query"]} {
		for _, name := range regexp.MustCompile(`edge_\w+`).FindAllString(query, -1) {
			if !strings.Contains(observed, "| `"+name+"` |") {
				t.Errorf("%s asks for %s, which edge does not have", query, name)
			}
		}
	}
}
