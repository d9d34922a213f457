# What the scripts share; sourced, never run. Sets `root` (the repository) and goes there.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The first Python ≥ 3.11 that really runs (a version manager's shim may be on the PATH without its Python).
find_python() {
  local name
  for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3.14 python3 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# ensure_venv EXTRA: a virtual environment in $VENV (.venv unless set) with this project and its EXTRA (dev, embedded).
# Does nothing where it is up to date: a stamp keeps the digest of pyproject.toml and the extra. `dev` holds `embedded`.
ensure_venv() {
  local extra=$1 venv=${VENV:-$root/.venv} python wanted had
  export VENV=$venv
  wanted=$(cksum <pyproject.toml)
  had=$(cat "$venv/.taskq-stamp" 2>/dev/null || true)
  if [[ "$had" == "dev $wanted" || "$had" == "$extra $wanted" ]] && "$venv/bin/python" -c 'import taskq' >/dev/null 2>&1; then
    return
  fi
  [[ $had == dev* ]] && extra=dev
  if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -c '' >/dev/null 2>&1; then
    say "Making a virtual environment in ${venv#"$root"/}"
    if command -v uv >/dev/null 2>&1; then
      uv venv --quiet --clear --python '>=3.11' "$venv" || die "uv could not make a virtual environment"
    else
      python=$(find_python) || die "Python 3.11 or newer is needed (or uv, which brings one); set PYTHON=/path/to/python if it is not on the PATH"
      "$python" -m venv --clear "$venv" || die "$python could not make a virtual environment (on Debian: apt install python3-venv)"
    fi
  fi
  say "Installing taskq and what it needs ($extra)"
  rm -f "$venv/.taskq-stamp"
  if command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --python "$venv/bin/python" -e ".[$extra]"
  else
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[$extra]"
  fi
  printf '%s\n' "$extra $wanted" >"$venv/.taskq-stamp"
}
