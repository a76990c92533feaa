#!/usr/bin/env bash
# Makes a private CA, a server and a client certificate, and ssl.config from the template beside this script.
#
#   ./make_tls.sh FOLDER HOST...     HOST: a DNS name or an IP address by which clients call the server
#
# Keep ca-key.pem off the servers. Certificates last a year; run it again in a new folder to renew.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set/d' >&2; exit 2; }
template="$(cd "$(dirname "$0")" && pwd)/ssl.config.template"
folder=$1
shift
umask 077
mkdir -p "$folder"
cd "$folder"
[ ! -e ca-key.pem ] || { echo "$folder has certificates already" >&2; exit 1; }

names=
for host in "$@"; do
  case $host in
    *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
  esac
  names=${names:+$names,}$kind:$host
done
elliptic="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

openssl req -x509 $elliptic -keyout ca-key.pem -out ca.pem -days 365 -subj "/CN=tfb2d serving CA" 2>/dev/null
sign() { # name, subject, extensions
  openssl req $elliptic -keyout "$1-key.pem" -out "$1.csr" -subj "/CN=$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 365 -out "$1.pem" \
    -extfile <(printf '%s\n' "basicConstraints=CA:FALSE" "$3") 2>/dev/null
  rm "$1.csr"
}
sign server "$1" "subjectAltName=$names"$'\n'"extendedKeyUsage=serverAuth"
sign client client "extendedKeyUsage=clientAuth"

one_line() { awk '{printf "%s\\n", $0}' "$1"; }
while IFS= read -r line; do
  line=${line//@SERVER_KEY@/$(one_line server-key.pem)}
  line=${line//@SERVER_CERT@/$(one_line server.pem)}
  printf '%s\n' "${line//@CA@/$(one_line ca.pem)}"
done <"$template" >ssl.config
echo "$PWD: ca.pem for clients to trust, client.pem and client-key.pem for them to show, ssl.config for the server"
