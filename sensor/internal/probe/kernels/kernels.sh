#!/usr/bin/env bash
# kernels.sh: runs the live tests under Debian's kernels in virtual machines, one after the other, and prints a line for each.
#
#   SERIES="5.10 6.1"   which kernels; "newest" is the highest that the mirror has
#   ARCHES="arm64"      amd64, arm64
#   FLAVOUR=rt          rt is PREEMPT_RT; by default cloud, which is the smallest
#   TESTS="probe"       probe, live: the tests of these packages; fexit: those of probe again, in the tier of that name, where the
#                       kernel has it; whole: the sensor with its default rules, on a short scene; hooks: that all programs
#                       load and attach, and what each costs the verifier
#   RUN='TestOpen'      only these tests
#   BUDGETS=write       take what the verifier had to do for budgets.txt, instead of comparing with it
#   LSM=off             without bpf among the kernel's security modules; by default with it, but for 6.1
#   JOBS=2              how many machines at a time, of different architectures; by default 1
#   BOOT_TIMEOUT=3600   seconds a machine may take
#   SHIKRA_DEBIAN_MIRROR  where Debian is, without the suite; by default where this machine's apt has it from
#
# The machines have no network and no disk: a kernel, and an initramfs with init (./init) and what it runs. Without KVM a boot
# takes some 5 s, the tests a minute. Kernels stay in $XDG_CACHE_HOME/shikra-kernels; remove it for newer ones.
set -euo pipefail

asked=${SERIES:-}
series=${SERIES:-5.10 6.1 6.12 6.18 newest}
arches=${ARCHES:-amd64 arm64}
tests=${TESTS:-hooks probe fexit live whole}
flavour=${FLAVOUR:-cloud}
timeout=${BOOT_TIMEOUT:-3600}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/shikra-kernels
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# One of these for each architecture at a time, when asked.
if [ "${JOBS:-1}" -gt 1 ] && [ "$(wc -w <<<"$arches")" -gt 1 ]; then
	pids=()
	for arch in $arches; do
		JOBS=1 ARCHES=$arch "$0" &
		pids+=($!)
	done
	bad=0
	for p in "${pids[@]}"; do wait "$p" || bad=1; done
	exit $bad
fi

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
case " $arches " in *" amd64 "*) need qemu-system-x86_64 qemu-system-x86 ;; esac
case " $arches " in *" arm64 "*) need qemu-system-aarch64 qemu-system-arm ;; esac
need cpio cpio
need xz xz-utils
need dpkg-deb dpkg
need apt-get apt
[ -f $keyring ] || missing+=(debian-archive-keyring)
if [ ${#missing[@]} -gt 0 ]; then
	echo "missing; apt-get install: ${missing[*]}" >&2
	exit 1
fi

mkdir -p "$cache"/apt/{lists/partial,archives/partial,etc/apt.conf.d,etc/preferences.d} "$cache/kernels" "$cache/log"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An apt of its own, so that the machine's isn't touched, with all suites that hold a kernel of interest.
apt_setup() {
	local site=${SHIKRA_DEBIAN_MIRROR:-} sec= suite
	if [ -z "$site" ]; then
		local uris
		uris=$(apt-get indextargets --format '$(REPO_URI)' | sed 's#/*$##' | sort -u)
		site=$(grep -E '/debian$' <<<"$uris" | head -1 || true)
		sec=$(grep -E '/debian-security$' <<<"$uris" | head -1 || true)
	fi
	if [ -z "$site" ]; then
		echo "this machine's apt names no Debian mirror: set SHIKRA_DEBIAN_MIRROR" >&2
		exit 1
	fi
	: "${sec:=$site-security}"
	: >"$cache/apt/status"
	{
		for suite in bullseye bookworm trixie; do
			echo "deb [signed-by=$keyring] $site $suite main"
			echo "deb [signed-by=$keyring] $sec $suite-security main"
		done
		echo "deb [signed-by=$keyring] $site bookworm-backports main"
		echo "deb [signed-by=$keyring] $site trixie-backports main"
	} >"$cache/apt/sources.list"
	cat >"$cache/apt/apt.conf" <<-CONF
		Dir::State "$cache/apt"; Dir::State::lists "$cache/apt/lists"; Dir::State::status "$cache/apt/status";
		Dir::Cache "$cache/apt"; Dir::Etc "$cache/apt/etc"; Dir::Etc::sourceparts "-";
		Dir::Etc::sourcelist "$cache/apt/sources.list";
		APT::Architecture "amd64"; APT::Architectures { "amd64"; "arm64"; };
		Acquire::Languages "none"; Acquire::Check-Valid-Until "false"; APT::Sandbox::User "root"; Debug::NoLocking "true";
	CONF
	export APT_CONFIG="$cache/apt/apt.conf"
	# A suite that has moved to the archive is no reason to go without the others.
	apt-get -qq update || echo "apt-get update: some suites can't be had" >&2
	apt_ready=1
}
apt_ready=

# packages PREFIX SERIES ARCH: the names of the packages that may hold it, newest first.
packages() {
	apt-cache pkgnames "linux-$1-$2" | grep -E "^linux-$1-${2//./\\.}([.+-].*)?$flavour-$3\$" | sort -rV | head -8
}

# take DEB PATTERN: the first file of a package whose path matches.
take() {
	local f
	f=$(dpkg-deb -c "$1" | awk '{print $6}' | grep -E "$2" | head -1 || true)
	[ -n "$f" ] && dpkg-deb --fsys-tarfile "$1" | tar -xO "$f"
}

# fetch SERIES ARCH: leaves vmlinuz and the modules in the cache; false when the mirror doesn't have that kernel.
fetch() {
	local dir=$cache/kernels/$1-$flavour-$2 p deb
	[ -s "$dir/vmlinuz" ] && return
	[ -n "$apt_ready" ] || apt_setup
	mkdir -p "$dir" "$work/deb"
	# Newer ones have the kernel in linux-binary-*, and modules in linux-modules-*.
	for p in $(packages binary "$1" "$2") $(packages image "$1" "$2"); do
		rm -f "$work"/deb/*.deb
		(cd "$work/deb" && apt-get -qq download "$p:$2") 2>/dev/null || continue
		deb=$(echo "$work"/deb/*.deb)
		take "$deb" '/vmlinuz(-|$)' >"$work/vmlinuz" || continue
		local mods=$p
		if [ "${p#linux-binary-}" != "$p" ]; then
			mods=linux-modules-${p#linux-binary-}
			rm -f "$work"/deb/*.deb
			(cd "$work/deb" && apt-get -qq download "$mods:$2") 2>/dev/null || true
			deb=$(echo "$work"/deb/*.deb)
		fi
		if [ -f "$deb" ]; then
			take "$deb" '/overlay\.ko' >"$work/overlay.ko" || true
			if xz -tq "$work/overlay.ko" 2>/dev/null; then
				xz -dcq "$work/overlay.ko" >"$dir/overlay.ko"
			elif [ -s "$work/overlay.ko" ]; then
				cp "$work/overlay.ko" "$dir/overlay.ko"
			fi
		fi
		echo "$p" >"$dir/package"
		mv "$work/vmlinuz" "$dir/vmlinuz"
		return
	done
	return 1
}

# alone COMMAND: while no other of these is at the cache.
alone() { flock 9 && "$@"; } 9>"$cache/lock"

# newest ARCH: the highest series of the mirror.
newest() {
	[ -n "$apt_ready" ] || apt_setup
	apt-cache pkgnames linux- | sed -nE "s/^linux-(image|binary)-([0-9]+\.[0-9]+)[.+-].*$flavour-$1\$/\2/p" | sort -uV | tail -1
}

# build ARCH: everything but the kernel's modules, into $work/ARCH.
build() {
	local d=$work/$1 t pkg
	[ -d "$d" ] && return
	mkdir -p "$d"/{proc,sys,dev,tmp,run,etc,root,var/log,usr/bin,usr/sbin,tests}
	ln -s usr/bin "$d/bin"
	ln -s usr/sbin "$d/sbin"
	export GOOS=linux GOARCH=$1 CGO_ENABLED=0
	(cd "$root" && go build -trimpath -ldflags '-s -w' -o "$d/init" ./sensor/internal/probe/kernels/init)
	for t in $tests; do
		case $t in
		hooks)
			touch "$d/tests/hooks"
			continue
			;;
		probe)
			mkdir -p "$d/tests/probe"
			echo SHIKRA_PROBE_EXACT=1 >"$d/tests/probe/env"
			pkg=sensor/internal/probe
			;;
		fexit)
			mkdir -p "$d/tests/fexit"
			printf 'SHIKRA_PROBE_TIER=fexit\nSHIKRA_PROBE_EXACT=1\n' >"$d/tests/fexit/env"
			pkg=sensor/internal/probe
			;;
		live) pkg=sensor/internal/source/live ;;
		whole)
			(cd "$root" && go build -trimpath -ldflags '-s -w' -o "$d/usr/bin/shikra" ./sensor/cmd/shikra)
			continue
			;;
		*) echo "TESTS: $t is none of probe, fexit, live, whole, hooks" >&2 && exit 1 ;;
		esac
		mkdir -p "$d/tests/$t"
		(cd "$root" && go test -c -trimpath -ldflags '-s -w' -o "$d/tests/$t/test" "./$pkg")
		[ ! -d "$root/$pkg/testdata" ] || cp -r "$root/$pkg/testdata" "$d/tests/$t/"
		[ -z "${RUN:-}" ] || echo "$RUN" >"$d/tests/$t/run"
		# Speed, of which an emulated machine says nothing, and a comparison with the C source, which isn't there.
		local skip='LoadTime|Whole.*|RecordHeader|Budgets'
		# What hooks tries already, which takes as long as a fifth of all tests.
		case " $tests " in *" hooks "*) skip="$skip|Check" ;; esac
		# Of the tier fexit: what comes to no function of a system call, what is of another tier, and what would take hours.
		[ $t != fexit ] || skip="$skip|UnknownNumbers|EveryProgramLoads|Every.*Syscall|Refused|Config|OwnEvents|Lost.*|Busy|Check|SetSyscalls|FilterLikeModel|FilterCloses"
		echo "^Test($skip)\$" >"$d/tests/$t/skip"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$d/etc/passwd"
	echo 'root:x:0:' >"$d/etc/group"
	echo 'root:*:19000:0:99999:7:::' >"$d/etc/shadow"
}

boot() {
	local t arch=$2 dir=$cache/kernels/$1-$flavour-$2 log=$cache/log/$1-$flavour-$2 d=$work/$2 q append
	rm -f "$d/overlay.ko"
	[ ! -f "$dir/overlay.ko" ] || cp "$dir/overlay.ko" "$d/overlay.ko"
	# Older kernels have no trampolines (arm64 before 6.4), or types that say too little (amd64). One that should serve the tier
	# and doesn't fails the tests.
	local without=./none
	case $1 in 5.10 | 6.1) without=./tests/fexit ;; esac
	# What the hooks of security functions can be: BPF programs of functions need trampolines, the BPF security module to be listed.
	local lsm=landlock,lockdown,yama,integrity,apparmor,bpf hooks=fexit,lsm,kprobe
	[ "${LSM:-}" != off ] && [ "$1" != 6.1 ] || lsm=${lsm%,bpf} hooks=fexit,kprobe
	case $1-$arch in 5.10-arm64 | 6.1-arm64) hooks=kprobe ;; esac
	for t in probe fexit; do
		[ ! -f "$d/tests/$t/env" ] || sed -i -e '/^SHIKRA_PROBE_HOOKS=/d' -e "\$ a SHIKRA_PROBE_HOOKS=$hooks" "$d/tests/$t/env"
	done
	(cd "$d" && find . -path $without -prune -o -print | cpio -o -H newc --quiet) >"$work/initramfs"
	case $arch in
	# A triple fault is how a reboot ends qemu when power can't be turned off.
	amd64) q="qemu-system-x86_64 -cpu max" append="console=ttyS0 reboot=t" ;;
	# The core of a Raspberry Pi 4, which lacks the newer atomics. kpti: the other page tables of a core that is open to
	# Meltdown cost emulated ones three quarters of their time.
	arm64) q="qemu-system-aarch64 -M virt -cpu cortex-a72" append="console=ttyAMA0 kpti=off" ;;
	esac
	# The CPUs take turns (thread=single). Emulated in parallel, one may run code that the other has just patched, as tracepoints
	# are: seen with qemu 7.2 were Oops: int3 on amd64, and on arm64 a sys_exit that never fires.
	timeout -k 5 "$timeout" $q -accel tcg,thread=single -m 1024 -smp 2 -display none -monitor none -serial stdio -nic none \
		-no-reboot -kernel "$dir/vmlinuz" -initrd "$work/initramfs" -append "$append lsm=$lsm panic=-1 quiet" \
		</dev/null >"$log" 2>&1 || true
}

budgets=$here/budgets.txt
# over KERNEL: the programs that cost the verifier more than their budget and a quarter of it, of those just measured.
over() {
	sed -n 's/^cost //p' "$work/said" | awk -v kernel="$1" '
		NR == FNR { if (FNR > 1 && $1 == kernel) has = 1; b[$1, $2] = $3; next }
		has && !(kernel SUBSEP $1 in b) { print "fail budget of " $1 ": none; make budgets" }
		has && $2 > b[kernel, $1] * 1.25 + 500 { print "fail budget of " $1 ": " $2 " instructions verified, not " b[kernel, $1] "; make budgets" }
		has && $2 == 0 { print "fail budget of " $1 ": refused" }
	' "$budgets" -
}

failed=0
for arch in $arches; do
	for s in $series; do
		start=$SECONDS
		[ "$s" != newest ] || s=$(alone newest "$arch")
		if ! alone fetch "$s" "$arch"; then
			echo "$s $arch: the mirror has no such kernel"
			[ -z "$asked" ] || failed=1
			continue
		fi
		build "$arch"
		boot "$s" "$arch"
		log=$cache/log/$s-$flavour-$arch
		# What init has to say begins with ##; the console ends lines with a carriage return.
		tr -d '\r' <"$log" | sed -n 's/^## //p' >"$work/said"
		if done=$(grep '^done ' "$work/said"); then
			hooks=$(sed -n 's/^hooks //p' "$work/said") tier=$(sed -n 's/^tier //p' "$work/said")
			echo "$s $arch: $(sed -n 's/^kernel //p' "$work/said"): ${hooks:+$hooks; }${tier:+tier $tier; }${done#done }; $((SECONDS - start)) s"
			case $done in *" 0 failed"*) ;; *) failed=1 ;; esac
			if [ "${BUDGETS:-}" = write ]; then
				sed -n "s/^cost \\([^ ]*\\) \\([0-9]*\\).*/$s-$arch \\1 \\2/p" "$work/said" >>"$work/costs"
			elif over "$s-$arch" >"$work/over" && [ -s "$work/over" ]; then
				cat "$work/over" >>"$work/said"
				failed=1
			fi
		else
			echo "$s $arch: the machine didn't come to an end within $timeout s; its last words:"
			tail -n 5 "$log" | sed 's/^/    /'
			failed=1
		fi
		# An architecture without a call is no news.
		grep -E '^(refused|fail|skip) ' "$work/said" | grep -vE '^skip .* has no system call' | head -n "${FIRST:-12}" | sed 's/^/    /' || true
	done
done
if [ -s "$work/costs" ] && [ $failed = 0 ]; then
	exec 9>"$cache/lock"
	flock 9
	{
		echo "# What the verifier has to go through for each program, in instructions: kernel, program, instructions. make budgets writes this."
		# What stands there of kernels that weren't run stays.
		{ awk 'NR == FNR { new[$1]; next } FNR > 1 && !($1 in new)' "$work/costs" "$budgets"; cat "$work/costs"; } | sort -k1,1V -k2,2
	} >"$work/budgets"
	cp "$work/budgets" "$budgets"
fi
echo "consoles: $cache/log"
exit $failed
