package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const guides = "../docs/deployment/"

// block is a guide's first fenced text of a language with a word in it.
func block(t *testing.T, guide, language, word string) string {
	t.Helper()
	for _, found := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(read(t, guides+guide), -1) {
		if strings.Contains(found[1], word) {
			return found[1]
		}
	}
	t.Fatalf("%s has no %s with %q", guide, language, word)
	return ""
}

// The commands of the Docker guide, with the image's program in place of docker run,
// fill in all that the compose file wants.
func TestTheDockerGuideFillsInTheEnvironment(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "packaging/compose")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "env.example"), []byte(read(t, "compose/env.example")), 0o600); err != nil {
		t.Fatal(err)
	}
	stand := `docker() { if [ "$1" = run ]; then shift 3; "$EDGE" "$@"; fi; }; sudo() { :; }; `
	c := exec.Command("bash", "-euo", "pipefail", "-c", stand+block(t, "docker.md", "sh", "cp env.example"))
	c.Dir, c.Env = root, append(os.Environ(), "EDGE="+image.edge)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if text := read(t, filepath.Join(folder, ".env")); strings.Contains(text, "=REPLACE") {
		t.Errorf("left over:\n%s", text)
	}
	p, err := loadCompose(t, filepath.Join(folder, ".env"))
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, code := edge(t, environment(t, p.Services["edge"]), "validate", "--config", caddyfileOfImage); code != 0 {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

func TestTheKubernetesGuidesFolderChangesTheImage(t *testing.T) {
	folder, err := os.MkdirTemp("kubernetes", "guide")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	text := strings.Replace(block(t, "kubernetes.md", "yaml", "kind: Kustomization"), "../packaging/kubernetes/base", "../base", 1)
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	all, err := objects.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(all), "image: registry.mine.example/edge:v1.2.0\n"); got != 2 {
		t.Errorf("%d containers run the image of the guide's registry, want the gateway and the application\n%s", got, all)
	}
}

func TestTheGuidesLinkWhatIsThere(t *testing.T) {
	pages, err := filepath.Glob(guides + "*.md")
	if err != nil || len(pages) != 5 {
		t.Fatalf("pages %q: %v", pages, err)
	}
	for _, page := range pages {
		for _, link := range regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(read(t, page), -1) {
			target := page
			if link[1] != "" {
				target = filepath.Join(guides, link[1])
			}
			info, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s links %s: %v", page, link[1], err)
				continue
			}
			if link[2] != "" && !info.IsDir() && !strings.Contains(anchors(read(t, target)), " "+link[2]+" ") {
				t.Errorf("%s links %s#%s, which has no such heading", page, link[1], link[2])
			}
		}
	}
}

// anchors are those of a page's headings, with spaces around each.
func anchors(page string) string {
	var all strings.Builder
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		all.WriteString(" " + strings.ReplaceAll(name, " ", "-") + " ")
	}
	return all.String()
}
