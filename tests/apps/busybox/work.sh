# Prints the same on every run. Its applets are links to busybox.
/bin/busybox mkdir -p /tmp/applets
for name in awk cat cmp cp cut dd find grep gunzip gzip head ls md5sum mv rm rmdir sed seq sha256sum \
            sort tail tar tr uniq wc xargs; do
  /bin/busybox ln -sf /bin/busybox "/tmp/applets/$name"
done
PATH=/tmp/applets
cd /tmp || exit 1
rm -rf busybox-work && /bin/busybox mkdir busybox-work && cd busybox-work || exit 1
seq 1 1000 | awk '{ sum += $1 } END { print "sum", sum }'
seq 1 1000 >numbers
sha256sum numbers
tar czf archive.tar.gz numbers && gunzip -c archive.tar.gz | tar xf - -O | cmp - numbers && echo same
dd if=numbers of=part bs=100 count=3 2>/dev/null && wc -c <part
seq 1 20 | xargs -n 5 echo
find . -name 'n*' | sort
grep -c 9 numbers
sed -n '10,12p' numbers | tr '\n' ' '
cut -c 1 numbers | sort | uniq -c
cd .. && rm -rf busybox-work applets && ls busybox-work 2>&1 | wc -l
