# Stands in for the programs of docs/deployment that want an engine of containers, a
# cluster, systemd or rights over the machine. What they would have edge do, the real
# edge does here; what they name of this repository has to be there; anything else that
# they are given is an error.
top=$PWD

# The variables of the guide for Railway.
export APP_ADDRESS=app.internal:3000 EDGE_BACKUP=folder BACKUP_FOLDER=$top/backups EDGE_BACKUP_KEY=$BACKUP_KEY

wrong() {
	echo "$*: a word that testdata/deployment.sh does not know, or a name that is not there" >&2
	return 64
}

docker() {
	case "$*" in
	"compose exec edge "*) shift 3 && "$@" ;;
	"run --rm edge:local "*) grep -qx '    image: edge:local' "$top/packaging/compose/compose.yaml" && shift 3 && edge "$@" ;;
	"compose build edge" | "compose stop edge") grep -qx '  edge:' compose.yaml ;;
	"compose up -d") grep -qx 'services:' compose.yaml && ! grep -H '=REPLACE' .env ;;
	*) wrong docker "$@" ;;
	esac
}

# object KIND NAME: such a thing is in the manifests.
object() {
	grep -hA1 -ix "kind: $1" "$top"/packaging/kubernetes/*/*.yaml | grep -qxF "metadata: {name: $2}"
}

kubectl() {
	[ "$1 $2" != "-n shop" ] || shift 2
	local thing=$2
	case "$*" in
	"create namespace shop") grep -qx 'namespace: shop' "$top/packaging/kubernetes/base/kustomization.yaml" ;;
	"create secret generic edge --from-literal="*)
		shift 4
		for pair in "$@"; do
			pair=${pair#--from-literal=}
			grep -qF "secretKeyRef: {name: edge, key: ${pair%%=*}}" "$top"/packaging/kubernetes/base/*.yaml || wrong kubectl "$pair" || return
		done
		;;
	"apply -k "*) [ $# -eq 3 ] && grep -q '^kind: Kustomization$' "$3/kustomization.yaml" ;;
	"rollout status "*/* | "rollout undo "*/*) [ $# -eq 3 ] && object "${3%/*}" "${3#*/}" ;;
	"set env "*/*" APP_VERSION="*) object "${3%/*}" "${3#*/}" && grep -q 'name: APP_VERSION' "$top/packaging/kubernetes/base/${3#*/}.yaml" ;;
	"port-forward "*/*" 8080:"*) object "${thing%/*}" "${thing#*/}" && grep -q "port: ${3#*:}," "$top/packaging/kubernetes/base/${thing#*/}.yaml" ;;
	"exec "*/*" -- "*) object "${thing%/*}" "${thing#*/}" && shift 3 && "$@" ;;
	*) wrong kubectl "$@" ;;
	esac
}

# Everything but the user is as sudo has it.
sudo() {
	case "$*" in
	"chown 65532:65532 "*) [ -d "$3" ] ;;
	"install -m 640 -g edge "*) install -m 640 "$6" "$7" ;;
	"install -d -m 700 -o edge -g edge "*) [ $# -eq 9 ] ;;
	"sh -c "*) "$@" ;;
	"systemctl "*)
		shift
		case $1 in
		enable) [ "$2" = --now ] && shift ;;
		start | stop | restart) ;;
		*) wrong systemctl "$@" || return ;;
		esac
		shift
		for unit in "$@"; do [ -e "$top/packaging/systemd/$unit" ] || wrong systemctl "$unit" || return; done
		;;
	"systemd-run --quiet --pipe --wait -p User=edge -p EnvironmentFile=-"*" -E EDGE_STATE_DIR="*)
		(
			set -a
			. "${8#EnvironmentFile=-}"
			shift 10
			"$@"
		)
		;;
	*) wrong sudo "$@" ;;
	esac
}

# Somebody writes the Caddyfile, and fills in the environment.
sudoedit() {
	[ -s "$1" ] && [ -s "$2" ] && cp "$top/Caddyfile" "$1" && sed -i "s/=REPLACE\$/=$EDGE_TOKEN/" "$2"
}

git() {
	case "$*" in
	"rev-parse HEAD") echo v43 ;;
	*) wrong git "$@" ;;
	esac
}
