# setup.sh: what tools/run and tools/test share; sourced, POSIX sh. Everything it says goes to stderr.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

build_packages="gcc libc6-dev cmake ninja-build pkg-config luajit libluajit-5.1-dev libdnnl-dev
  nettle-dev libsqlite3-0 libreadline8 lua-argparse lua-cjson lua-filesystem libyaml-0-2"
# For mlua.linalg, which opens LAPACKE when it is first used: all else works without.
optional_packages="liblapacke libopenblas0-serial"
test_packages="lua-busted lua-check clang-format tmux"
docs_packages="lua-ldoc lua-discount"

say() { printf '%s\n' "$*" >&2; }

# install_packages NAME…: those that are missing, by apt-get, as root or by sudo.
install_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "mlua: not a Debian system; have these installed: $*"
    return 0
  fi
  missing=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
    awk 'BEGIN { for (i = 1; i < ARGC; i++) want[ARGV[i]] = 1; ARGC = 1 }
         $2 == "installed" { delete want[$1] }
         END { for (name in want) printf " %s", name }' "$@")
  [ -n "$missing" ] || return 0
  as_root=
  if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null || {
      say "mlua: neither root nor sudo; ask for these packages to be installed:$missing"
      return 1
    }
  fi
  say "mlua: installing$missing"
  log=$(mktemp)
  # The package lists of a fresh or an old machine may need an update: only then is one made.
  for try in first second; do
    # shellcheck disable=SC2086
    if $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
      --no-install-recommends $missing >"$log" 2>&1 </dev/null; then
      rm -f "$log"
      return 0
    fi
    [ $try = second ] || $as_root apt-get update -q >/dev/null 2>&1 </dev/null || true
  done
  cat "$log" >&2
  rm -f "$log"
  say "mlua: apt-get could not install:$missing"
  return 1
}

# install_optional NAME…: before the first build, and no failure where it cannot be.
install_optional() {
  [ ! -f "$root/build/build.ninja" ] || return 0
  install_packages "$@" || say "mlua: going on without $*"
}

# build PRESET [TARGET…]: configures once, then ninja; it says nothing of a build that succeeds.
build() {
  preset=$1
  shift
  dir=$root/build
  [ "$preset" = release ] || dir=$root/build-$preset
  log=$dir/setup.log
  mkdir -p "$dir"
  if [ ! -f "$dir/build.ninja" ]; then
    say "mlua: configuring ${dir#"$root"/} ($preset)"
    (cd "$root" && cmake --preset "$preset") >"$log" 2>&1 </dev/null || {
      cat "$log" >&2
      rm -f "$dir/build.ninja"
      return 1
    }
    sed -n 's/^-- \(mlua: .*\)/\1/p' "$log" >&2
  fi
  [ -x "$dir/mlua" ] || say "mlua: building ${dir#"$root"/}, which takes a minute the first time"
  ninja -C "$dir" "$@" >"$log" 2>&1 </dev/null || {
    grep -v '^\[[0-9]*/[0-9]*\]' "$log" >&2
    return 1
  }
}
