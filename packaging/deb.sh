#!/bin/sh
# Builds the Debian package build/fcgihost_VERSION_ARCH.deb of what is in this tree, for the release that it runs on.
# The Makefile calls it (make deb), with PYTHON and VERSION.
set -eu
cd "$(dirname "$0")/.."
: "${PYTHON:=/usr/bin/python3}" "${VERSION:?}" "${MAKE:=make}"
work=build/deb
root=$work/root
arch=$(dpkg --print-architecture)
package=build/fcgihost_${VERSION}_$arch.deb

command -v dpkg-shlibdeps >/dev/null || { echo "make deb: there is no dpkg-shlibdeps: apt-get install dpkg-dev"; exit 1; }
rm -rf "$root" "$work/debian"
# Objects of their own: the program knows its PREFIX.
$MAKE --no-print-directory -s install PREFIX=/usr DESTDIR="$PWD/$root" BUILD="$work/objects" PYTHON="$PYTHON" \
    LDFLAGS=-s

docs=$root/usr/share/doc/fcgihost
mv "$docs/LICENSE" "$docs/copyright"
gzip -9nf "$docs/CHANGES" "$root"/usr/share/man/man*/*
mkdir -p "$root/etc/fcgihost" "$root/DEBIAN"
cp packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/"
chmod 755 "$root"/DEBIAN/p*

# What the program needs: its libraries, and Python's own modules, of the very version that it was built with, wherever
# the interpreter itself is (libpython's shared library, or in the program).
mkdir -p "$work/debian"
echo "Source: fcgihost" >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/fcgihost 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$libraries" ] || { echo "make deb: dpkg-shlibdeps found no library that the program needs"; exit 1; }
minor=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$PYTHON" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
patch=$("$PYTHON" -c 'import platform; print(platform.python_version())')

cat >"$root/DEBIAN/control" <<END
Package: fcgihost
Version: $VERSION
Architecture: $arch
Maintainer: The authors of fcgihost <root@localhost>
Section: httpd
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $libraries, libpython$minor-stdlib (>= $patch~), python3 (>= $minor~), python3 (<< $next~)
Suggests: nginx | httpd
Description: FastCGI and SCGI host for Python
 Serves WSGI applications behind a web server that speaks FastCGI or SCGI: a C
 program with CPython embedded, threads, and if wished several processes under
 a manager. Retries what can't be loaded, reloads changed code without losing a
 request, and ends in order.
 .
 systemd runs a service for each site: fcgihost@NAME.socket, which serves what
 /etc/fcgihost/NAME.ini says, as a user of its own.
END
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package: $(dpkg-deb -f "$package" Depends)"
