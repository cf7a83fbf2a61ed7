#!/bin/sh
# The Rust crate prometheus-parse loses metrics, and labels, by what stands in a label's value, and says nothing.
#
# Packages: prometheus-client 0.26.0 (PyPI: Prometheus' own, which writes and reads), prometheus-parse 0.2.5 (Rust crate), in a
#           temporary folder. Needs python3 and cargo.
# Input:    a gauge for each of four clusters, in Prometheus' text format, with the cluster's name as the label cluster_name, as
#           charon's metrics have it. The creator of a cluster chooses its name freely.
# Guess:    four values, each with the name of its cluster: what stands between quotation marks ends nothing.
# Seen:     Prometheus' reader gives four. The crate gives three: that of "Set {a}" is gone. That of "weight=2" has no label, as
#           if it were of no cluster, and of "a, b" the label is "a". There is no error, and no line is called unread.
# So:       an alarm on such a metric never goes off. Give clusters names of letters and digits, or have another package read
#           their metrics; count what came out against the lines that went in.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q prometheus-client==0.26.0 >&2
cat >"$dir/write.py" <<'END'
from prometheus_client import CollectorRegistry, Gauge, generate_latest
registry = CollectorRegistry()
up = Gauge("node_up", "Whether the node is up", ["cluster_name"], registry=registry)
for number, name in enumerate(("plain", "a, b", "Set {a}", "weight=2"), 1):
    up.labels(name).set(number)
print(generate_latest(registry).decode(), end="")
END
cat >"$dir/read.py" <<'END'
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(f"{sample.value:.0f}: {sample.labels.get('cluster_name', 'no label')}")
END
mkdir -p "$dir/rust/src"
cat >"$dir/rust/Cargo.toml" <<'END'
[package]
name = "read"
version = "0.0.0"
edition = "2021"
[dependencies]
prometheus-parse = "=0.2.5"
[workspace]
END
cat >"$dir/rust/src/main.rs" <<'END'
use prometheus_parse::{Scrape, Value};

fn main() {
    let scrape = Scrape::parse(std::io::stdin().lines()).expect("no error");
    for sample in scrape.samples {
        let Value::Gauge(value) = sample.value else { panic!("not a gauge") };
        println!("{value}: {}", sample.labels.get("cluster_name").unwrap_or("no label"));
    }
}
END
(cd "$dir/rust" && CARGO_TARGET_DIR="$dir/rust/target" cargo build --quiet) >&2

"$dir/python/bin/python" "$dir/write.py" >"$dir/metrics"
cat "$dir/metrics"
seen=$(
  echo "Prometheus' own:"
  "$dir/python/bin/python" "$dir/read.py" <"$dir/metrics"
  echo "prometheus-parse:"
  "$dir/rust/target/debug/read" <"$dir/metrics"
)
printf '%s\n' "$seen"
expected="Prometheus' own:
1: plain
2: a, b
3: Set {a}
4: weight=2
prometheus-parse:
1: plain
2: a
4: no label"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
