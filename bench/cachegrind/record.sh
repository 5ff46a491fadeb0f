#!/usr/bin/env bash
# record.sh DIR [PROGRAM...] records real programs for `dmapath validate cachegrind --dir DIR`: each runs once under
# Valgrind's lackey (NAME.lackey.zst: every access) and twice under its cachegrind (NAME.cachegrind: what missed in usual
# caches; NAME.tiny.cachegrind: in tiny ones, so that the last level has more misses than first touches). Without
# names all of the list below are recorded. Other programs: record.sh DIR -- NAME COMMAND [ARGUMENT...], which
# gets standard input.
#
# The two runs have to make the same accesses: no address randomisation, the same and nearly empty environment (its size moves
# the stack), no threads where it can be avoided, no seeds. Needs valgrind, zstd, setarch; cc and go for two of the programs.
# D1, I1 and LL can be set in the environment (of the first cachegrind run), and SHRINK, by which inputs are divided (1).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
out=$1; shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
I1=${I1:-32768,8,64} D1=${D1:-32768,8,64} LL=${LL:-33554432,16,64}
SHRINK=${SHRINK:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in valgrind zstd setarch; do
  command -v "$tool" >/dev/null || { echo "record.sh: $tool is not installed" >&2; exit 3; }
done

# record NAME COMMAND...: standard input is read from $input.
input=/dev/null
record() {
  local name=$1; shift
  local clean=(setarch "$(uname -m)" -R env -i PATH=/usr/bin:/bin LC_ALL=C HOME=/nonexistent GOMAXPROCS=1 GOGC=off GODEBUG=asyncpreemptoff=1)
  mkfifo "$work/trace"
  zstd -q -f -"${LEVEL:-6}" -o "$out/$name.lackey.zst" <"$work/trace" &
  local writer=$!
  (cd "$work" && "${clean[@]}" valgrind --tool=lackey --trace-mem=yes --basic-counts=no --log-fd=9 "$@" \
    9>"$work/trace" <"$input" >/dev/null 2>&1)
  wait "$writer"
  rm "$work/trace"
  local executed tries=1
  executed=$(zstd -dcq "$out/$name.lackey.zst" | grep -c '^I ')
  [ "$name" = goflate ] && tries=8
  count() { # count FILE I1 D1 LL COMMAND...: what cachegrind counts; its figures per source line are not kept
    local file=$1 i1=$2 d1=$3 ll=$4 nearest='' i n; shift 4
    # The Go runtime has threads that wake by the clock: no two runs are the same. The one nearest in length is kept.
    for ((i = 0; i < tries; i++)); do
      (cd "$work" && "${clean[@]}" valgrind --tool=cachegrind --cache-sim=yes --I1="$i1" --D1="$d1" --LL="$ll" \
        --cachegrind-out-file="$work/counts" "$@" <"$input" >/dev/null 2>&1)
      n=$(awk -v x="$executed" '/^summary:/ { d = $2 - x; print d < 0 ? -d : d }' "$work/counts")
      if [ -z "$nearest" ] || [ "$n" -lt "$nearest" ]; then
        nearest=$n
        grep -E '^(desc|cmd|events|summary):' "$work/counts" >"$out/$file"
      fi
    done
  }
  count "$name.cachegrind" "$I1" "$D1" "$LL" "$@"
  count "$name.tiny.cachegrind" 4096,2,64 2048,1,32 65536,4,64 "$@"
  printf '%-10s %s\n' "$name" "$(sed -n 's/^summary: //p' "$out/$name.cachegrind")"
}

if [ "${1:-}" = -- ]; then
  shift
  cat >"$work/stdin"
  input=$work/stdin
  record "$@"
  exit
fi

# Input that every machine has: words and numbers made by awk's arithmetic, without a random generator of the system.
text() { # text LINES
  awk -v n="$1" 'BEGIN { x = 1; for (i = 0; i < n; i++) { line = ""; for (j = 0; j < 6; j++) { x = (x * 16807) % 2147483647
    line = line sprintf(" %s%d", substr("mapunmapiovapagesynclinkfencestore", 1 + x % 27, 4 + x % 5), x % 997) } print line } }' </dev/null
}
text $((400 / SHRINK)) >"$work/text"
text $((1200 / SHRINK)) >"$work/longer"

missing() { command -v "$1" >/dev/null || { echo "$1 is not installed: skipped" >&2; return 0; }; return 1; }

all="gzip bzip2 xz zstd sort sqlite3 matmul goflate"
for program in ${*:-$all}; do
  input=$work/text
  case $program in
  gzip) missing gzip || record gzip gzip -9 -c ;;
  bzip2) missing bzip2 || record bzip2 bzip2 -9 -c ;;
  xz) missing xz || record xz xz -T1 -3 -c ;;
  zstd) record zstd zstd -q --single-thread --no-asyncio -3 -c ;;
  sort) input=$work/longer; record sort sort --parallel=1 -k 3,3 ;;
  sqlite3)
    missing sqlite3 && continue
    { echo 'create table t(a integer primary key, b integer, c text); begin;'
      awk '{ gsub(/[^0-9]/, "", $2); printf "insert into t(b, c) values(%d, \x27%s\x27);\n", $2, $3 }' "$work/longer"
      echo 'commit; create index i on t(c); select c, count(*), sum(b) from t group by c order by 3 desc limit 20;'
    } >"$work/sql"
    input=$work/sql; record sqlite3 sqlite3 -batch :memory: ;;
  matmul)
    missing cc && continue
    cc -O2 -o "$work/matmul" "$here/programs/matmul.c"
    record matmul "$work/matmul" $((SHRINK > 1 ? 60 : 120)) ;;
  goflate)
    missing go && continue
    go build -C "$here" -o "$work/goflate" ./programs/goflate
    record goflate "$work/goflate" $((1200 / SHRINK)) ;;
  *) echo "record.sh: $program is not one of: $all" >&2; exit 2 ;;
  esac
done
