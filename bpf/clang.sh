#!/bin/sh
# clang.sh: clang for go generate, so that it makes the same bytes wherever the sources lie.
#
# In which order LLVM writes types that are only declared (BTFDebug.cpp, FixupDerivedTypes) depends on where in memory it has them,
# and so on the length of every path it is given. Here each has one length: the sources are copied to a directory whose name is as
# long on every machine, the environment is empty, and addresses aren't random.
#
#   CLANG   which clang; clang-19 by default
set -eu

dir=$(mktemp -d /tmp/shikra-bpf.XXXXXXXX)
trap 'rm -rf "$dir"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
here=$(cd "$(dirname "$0")" && pwd)
cp -r "$here/include" "$here/programs" "$dir/"

n=$# out='' last=''
while [ "$n" -gt 0 ]; do
	arg=$1
	shift
	n=$((n - 1))
	case $last in
	-o) out=$arg arg=o ;;
	esac
	last=$arg
	case $arg in
	*/programs/*.bpf.c | programs/*.bpf.c) arg=programs/${arg##*/} ;;
	-I*/include | -Iinclude) arg=-Iinclude ;;
	-fdebug-prefix-map=*) continue ;;
	esac
	set -- "$@" "$arg"
done
cc=$(command -v "${CLANG:-clang-19}") || {
	echo "clang.sh: ${CLANG:-clang-19} isn't there: install it, or set CLANG" >&2
	exit 1
}
(cd "$dir" && env -i PATH=/usr/bin:/bin setarch -R "$cc" "$@")
[ -z "$out" ] || cp "$dir/o" "$out"
