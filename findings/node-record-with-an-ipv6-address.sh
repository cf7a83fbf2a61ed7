#!/bin/sh
# The Java library tuweni puts a node's IPv6 address where IPv4 belongs, and says 127.0.0.1 where a node record has no IPv4.
#
# Packages: io.tmio:tuweni-devp2p 2.4.2 with org.bouncycastle:bcprov-jdk18on 1.78.1 (Maven Central), github.com/ethereum/go-ethereum
#           v1.17.10 (Go module: its p2p/enr), enr 0.14.0 (Rust crate), in a temporary folder. Needs JDK 17, mvn, go 1.24 and cargo.
# Input:    records (ENR) of one throw-away key: of Go's package with an IPv4 address, with an IPv6 address, and with none, as charon's
#           are; of tuweni with an IPv4 and with an IPv6 address. All are read by all three.
# Guess:    everybody sees the same. EIP-778 has two keys: "ip" for the IPv4 address, of 4 bytes, and "ip6" for the other, of 16.
#           A record without either is complete; it has no address to tell.
# Seen:     tuweni writes all 16 bytes of an IPv6 address under "ip". Rust's package refuses that record for its length, and to Go's
#           it has no address. And tuweni looks under "ip" alone: of Go's record with an IPv6 address, and of one like
#           charon's, it says 127.0.0.1, which is the machine on which it is asked. There is no error.
# So:       look whether "ip" is in the record's data before that address is believed, and write "ip6" by hand, as other data.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

mkdir -p "$dir/java" "$dir/go" "$dir/rust/src"
cat >"$dir/java/pom.xml" <<'END'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId>
  <artifactId>records</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.tmio</groupId>
      <artifactId>tuweni-devp2p</artifactId>
      <version>2.4.2</version>
    </dependency>
    <dependency>
      <groupId>org.bouncycastle</groupId>
      <artifactId>bcprov-jdk18on</artifactId>
      <version>1.78.1</version>
    </dependency>
  </dependencies>
</project>
END
cat >"$dir/java/Records.java" <<'END'
import java.math.BigInteger;
import java.net.InetAddress;
import java.security.Security;
import java.util.Base64;
import java.util.Map;
import java.util.Scanner;
import org.apache.tuweni.bytes.Bytes;
import org.apache.tuweni.crypto.SECP256K1;
import org.apache.tuweni.devp2p.EthereumNodeRecord;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

class Records {
  public static void main(String[] words) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    if (words.length > 0) {
      SECP256K1.KeyPair key =
          SECP256K1.KeyPair.fromSecretKey(SECP256K1.SecretKey.fromInteger(BigInteger.valueOf(7)));
      for (String address : new String[] {"192.0.2.7", "2001:db8:0:0:0:0:0:7"}) {
        Bytes record = EthereumNodeRecord.toRLP(
            key, 1, Map.of(), Map.of(), InetAddress.getByName(address), 3610, 3630);
        System.out.println("tuweni " + address + " enr:"
            + Base64.getUrlEncoder().withoutPadding().encodeToString(record.toArrayUnsafe()));
      }
      return;
    }
    Scanner lines = new Scanner(System.in);
    while (lines.hasNextLine()) {
      String[] line = lines.nextLine().split(" ");
      byte[] bytes = Base64.getUrlDecoder().decode(line[2].substring("enr:".length()));
      EthereumNodeRecord record = EthereumNodeRecord.fromRLP(Bytes.wrap(bytes));
      record.validate();
      System.out.println(line[1] + " by " + line[0] + ", tuweni reads: " + record.ip().getHostAddress());
    }
  }
}
END
cat >"$dir/go/go.mod" <<'END'
module example.com/records

go 1.24

require github.com/ethereum/go-ethereum v1.17.10
END
cat >"$dir/go/main.go" <<'END'
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

func main() {
	if len(os.Args) > 1 {
		key, err := crypto.ToECDSA(append(make([]byte, 31), 7))
		if err != nil {
			panic(err)
		}
		for _, address := range []string{"192.0.2.7", "2001:db8::7", "none"} {
			var record enr.Record
			switch ip := net.ParseIP(address); {
			case ip == nil:
				record.SetSeq(0)
			case ip.To4() == nil:
				record.Set(enr.IPv6(ip))
			default:
				record.Set(enr.IPv4(ip))
			}
			if err := enode.SignV4(&record, key); err != nil {
				panic(err)
			}
			node, err := enode.New(enode.ValidSchemes, &record)
			if err != nil {
				panic(err)
			}
			fmt.Println("Go", address, node)
		}
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		node, err := enode.Parse(enode.ValidSchemes, words[2])
		if err != nil {
			panic(err)
		}
		seen := "no address"
		if address := node.IPAddr(); address.IsValid() {
			seen = address.String()
		}
		fmt.Printf("%s by %s, Go reads: %s\n", words[1], words[0], seen)
	}
}
END
cat >"$dir/rust/Cargo.toml" <<'END'
[package]
name = "records"
version = "0.0.0"
edition = "2021"

[dependencies]
enr = "=0.14.0"

[workspace]
END
cat >"$dir/rust/src/main.rs" <<'END'
use enr::{k256::ecdsa::SigningKey, Enr};

fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let [writer, address, text] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not three words");
        };
        let seen = match text.parse::<Enr<SigningKey>>() {
            Ok(record) => match (record.ip4(), record.ip6()) {
                (Some(ip), None) => ip.to_string(),
                (None, Some(ip)) => ip.to_string(),
                (None, None) => "no address".to_owned(),
                (Some(_), Some(_)) => "two addresses".to_owned(),
            },
            Err(error) => error,
        };
        println!("{address} by {writer}, Rust reads: {seen}");
    }
}
END
(
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  cd "$dir/go"
  go build -o "$dir/record" .
) >&2
(cd "$dir/rust" && CARGO_TARGET_DIR="$dir/rust/target" cargo build --quiet) >&2
mvn -B -q -f "$dir/java/pom.xml" -Dmaven.repo.local="$dir/repository" \
  org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath -Dmdep.outputFile="$dir/classpath" >&2
java() { command java -cp "$(cat "$dir/classpath")" "$dir/java/Records.java" "$@"; }
{
  "$dir/record" write
  java write
} >"$dir/records"
cat "$dir/records"
seen=$(
  java <"$dir/records"
  "$dir/record" <"$dir/records"
  "$dir/rust/target/debug/records" <"$dir/records"
)
printf '%s\n' "$seen"
expected="192.0.2.7 by Go, tuweni reads: 192.0.2.7
2001:db8::7 by Go, tuweni reads: 127.0.0.1
none by Go, tuweni reads: 127.0.0.1
192.0.2.7 by tuweni, tuweni reads: 192.0.2.7
2001:db8:0:0:0:0:0:7 by tuweni, tuweni reads: 2001:db8:0:0:0:0:0:7
192.0.2.7 by Go, Go reads: 192.0.2.7
2001:db8::7 by Go, Go reads: 2001:db8::7
none by Go, Go reads: no address
192.0.2.7 by tuweni, Go reads: 192.0.2.7
2001:db8:0:0:0:0:0:7 by tuweni, Go reads: no address
192.0.2.7 by Go, Rust reads: 192.0.2.7
2001:db8::7 by Go, Rust reads: 2001:db8::7
none by Go, Rust reads: no address
192.0.2.7 by tuweni, Rust reads: 192.0.2.7
2001:db8:0:0:0:0:0:7 by tuweni, Rust reads: Invalid ENR: UnexpectedLength"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
