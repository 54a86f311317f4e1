package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// standIns are the programs that the guides of docs/deployment call and that are not
// what they are elsewhere: testdata/deployment.sh has each. openssl makes secrets there.
var standIns = []string{"docker", "kubectl", "git", "sudo", "openssl"}

// notDeployed are the lines of the guides that cannot be run even so, each with why.
var notDeployed = map[string]string{
	"docs/deployment/docker.md: docker build -f packaging/docker/Dockerfile --build-arg VERSION=\"$(git describe --tags --always)\" -t edge .":                                                                                                                                 "wants an engine of containers: TestTheImageServes of packaging",
	"docs/deployment/docker.md: docker run -d --name edge --stop-timeout 60 --read-only --tmpfs /tmp --cap-drop ALL  \t-p 80:8080 -p 443:8443 -v edge:/var/lib/edge  \t-e SITE_ADDRESS=crm.example.com -e APP_ADDRESS=app:3000 -e EDGE_TOKEN=\"$(openssl rand -hex 32)\" edge": "wants an engine of containers: TestTheImageServes of packaging",
	"docs/deployment/docker.md: docker run --rm --env-file .env -v \"$PWD/Caddyfile:/etc/edge/Caddyfile:ro\" edge check --env production --config /etc/edge/Caddyfile":                                                                                                         "wants an engine of containers: TestEveryPartOfTheImagesConfigurationIsValid of packaging",
	"docs/deployment/docker.md: docker compose run --rm edge restore --force --config /etc/edge/Caddyfile":                                                                                                                                                                     "wants a gateway that is stopped: TestTheImagesBackupComesBack of packaging",
	"docs/deployment/docker.md: git pull && docker compose build edge && docker compose up -d edge":                                                                                                                                                                            "wants a clone with a remote, and an engine of containers",
	"docs/deployment/kubernetes.md: docker build -f packaging/docker/Dockerfile --build-arg VERSION=v1.2.0 -t registry.example.com/edge:v1.2.0 .":                                                                                                                              "wants an engine of containers: TestTheImageServes of packaging",
	"docs/deployment/kubernetes.md: docker push registry.example.com/edge:v1.2.0":                                                                                                                                                                                              "wants a registry",
	"docs/deployment/kubernetes.md: cd shop && kustomize edit set image registry.example.com/edge=registry.mine.example/edge:v1.3.0":                                                                                                                                           "wants kustomize: TestTheKubernetesGuidesFolderChangesTheImage of packaging",
	"docs/deployment/kubernetes.md: kubectl apply -k . && kubectl -n shop rollout status deployment/edge":                                                                                                                                                                      "wants what kustomize wrote",
	"docs/deployment/systemd.md: sudo apt install ./bin/edge_1.2.0.deb":                                                                                                                                                                                                        "wants rights over the machine: TestTheDebianPackage",
	"docs/deployment/systemd.md: sudo apt install ./bin/edge_1.3.0.deb":                                                                                                                                                                                                        "wants rights over the machine: TestTheDebianPackage",
	"docs/deployment/systemd.md: sudo apt install ./bin/edge_1.2.0.deb --allow-downgrades   # and back":                                                                                                                                                                        "wants rights over the machine",
	"docs/deployment/systemd.md: as_edge edge restore --force --config /etc/edge/Caddyfile":                                                                                                                                                                                    "wants a gateway that is stopped: TestADestroyedNodeIsRestored",
}

// isDeployment reports whether a line is of a guide about other places than this one.
func (l commandLine) isDeployment() bool { return strings.HasPrefix(l.page, "docs/deployment/") }

// guideWords are what the guides name, and what is here in its place, as far as the
// other documents do not name it too.
var guideWords = strings.NewReplacer("http://localhost:8080", "https://crm.example.com", "https://edge-production.up.railway.app", "https://crm.example.com",
	"--version v1", "--version v43", "--version v2", "--version v43", "/usr/share/doc/edge/", "", " 8080:80 &", " 8080:80")

// packagingIn puts what a clone and the Debian package have into the folder in which
// the guides are followed.
func packagingIn(t *testing.T, folder string) {
	t.Helper()
	etc := filepath.Join(folder, "etc")
	err := os.CopyFS(filepath.Join(folder, "packaging"), os.DirFS("../../packaging"))
	if err == nil {
		err = os.Mkdir(etc, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"Caddyfile": read(t, filepath.Join(folder, "Caddyfile")), "edge.env": read(t, "../../packaging/env/production.env.example")} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
