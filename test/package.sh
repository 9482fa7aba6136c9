#!/bin/sh
# Tries what `make dist`, `make deb` and packaging/image make of this tree: on a bare root, as it installs and removes
# packages. test/fresh.sh (make test-package) calls it there.
set -eu
cd "$(dirname "$0")/.."
[ "${CI:-}" = true ] && [ ! -e /run/systemd/system ] || { echo "package: only on a bare root: make test-package"; exit 2; }
fail() { echo "package: $*"; exit 1; }
# wait_for PORT PID WORDS: until that process answers a ping; WORDS say what is wrong if it does not.
wait_for() {
    tries=0
    until curl -sf "http://127.0.0.1:$1/ping" >/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] && kill -0 "$2" || fail "$3"
        sleep 0.1
    done
}
export DEBIAN_FRONTEND=noninteractive PAGER=cat
get="apt-get -q -y -o DPkg::Lock::Timeout=300"

echo "== a source archive builds from itself, and makes the package"
make dist
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' python/fcgihost/__init__.py)
tar -C /root -xzf "build/fcgihost-$version.tar.gz"
sh "/root/fcgihost-$version/packaging/image/steps" build
package=$(echo "/root/fcgihost-$version"/build/fcgihost_*.deb)
[ -e "$package" ] || fail "there is no package"
$get install --no-install-recommends curl

echo "== it installs, starts nothing, and brings what it should"
$get install --no-install-recommends "$package"
! pgrep_fcgihost=$(grep -lx fcgihost /proc/[0-9]*/comm 2>/dev/null) || fail "it started something: $pgrep_fcgihost"
for file in /usr/bin/fcgihost /usr/share/man/man1/fcgihost.1.gz /usr/share/man/man5/fcgihost.ini.5.gz \
    /usr/lib/systemd/system/fcgihost@.service /usr/lib/systemd/system/fcgihost@.socket /usr/lib/tmpfiles.d/fcgihost.conf \
    /usr/share/bash-completion/completions/fcgihost /usr/share/doc/fcgihost/copyright \
    /usr/share/doc/fcgihost/examples/hello/hello.py /usr/share/fcgihost/python/fcgihost/__init__.py; do
    [ -e "$file" ] || fail "$file is missing"
done
[ -d /etc/fcgihost ] && [ -d /run/fcgihost ] || fail "folders are missing"
grep -q '^ExecStart=/usr/bin/fcgihost -c /etc/fcgihost/%i.ini$' /usr/lib/systemd/system/fcgihost@.service || fail "ExecStart"
fcgihost --version
! ldd /usr/bin/fcgihost | grep "not found" || fail "a library is missing"
# The sources are not needed any more, nor is what built them.
mv "$PWD" /root/elsewhere
mkdir "$PWD"
rm -rf "/root/fcgihost-$version/python" "/root/fcgihost-$version/build/deb"

echo "== a site runs as a service would, as a user of its own"
useradd --system --no-create-home fcgihost-demo
mkdir -p /srv/demo
cp /usr/share/doc/fcgihost/examples/hello/hello.py /srv/demo/app.py
cat >/etc/fcgihost/demo.ini <<END
[server]
processes = 2
listen = unix:/run/fcgihost-demo/demo.sock
[application]
script = /srv/demo/app.py
mount = /
[status]
listen = 127.0.0.1:9180
END
install -d -o fcgihost-demo /run/fcgihost-demo
as_service="setpriv --reuid=fcgihost-demo --regid=fcgihost-demo --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all --reset-env"
$as_service sh -c 'umask 27; RUNTIME_DIRECTORY=/run/fcgihost-demo exec fcgihost -c /etc/fcgihost/demo.ini' &
host=$!
wait_for 9180 $host "it does not serve"
for process in $host $(cat /proc/$host/task/$host/children); do
    grep -qx "CapBnd:[[:space:]]*0*" /proc/$process/status && grep -qx "NoNewPrivs:[[:space:]]*1" /proc/$process/status ||
        fail "$process has privileges: $(cat /proc/$process/status)"
    [ "$(stat -c %U /proc/$process)" = fcgihost-demo ] || fail "$process is not the user's"
done
RUNTIME_DIRECTORY=/run/fcgihost-demo fcgihost --status -c /etc/fcgihost/demo.ini >/dev/null || fail "--status"
kill $host
wait $host || fail "it did not stop in order"

echo "== it is removed, and the administrator's file stays"
$get remove fcgihost
[ ! -e /usr/bin/fcgihost ] && [ ! -e /usr/share/fcgihost ] || fail "something is left"
[ -e /etc/fcgihost/demo.ini ] || fail "the configuration is gone"
rm /etc/fcgihost/demo.ini
$get purge fcgihost
[ ! -e /etc/fcgihost ] || fail "its folder is left"

echo "== the image's second step, and what the container runs"
mkdir /root/image
cp -r "/root/fcgihost-$version"/packaging/image/* "$package" /root/image/
sh /root/image/steps install /root/image
setpriv --reuid=www-data --regid=www-data --clear-groups --reset-env sh /usr/local/bin/serve &
serve=$!
wait_for 8080 $serve "the container does not serve"
curl -sf http://127.0.0.1:8080/ | grep -q "fcgihost serves" || fail "the application does not answer"
kill $serve
wait $serve || fail "the container did not stop in order"
[ -z "$(grep -lxE 'fcgihost|nginx' /proc/[0-9]*/comm 2>/dev/null)" ] || fail "the container left processes"
echo "the archive, the package and the image work"
