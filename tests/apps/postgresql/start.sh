# The shell becomes the server, so that it gets the signals.
mkdir -p /data /run/postgresql
chown postgres /data /run/postgresql
as="setpriv --reuid postgres --regid postgres --init-groups"
$as initdb -D /data -A trust -U postgres --no-sync >/dev/null || exit 1
echo "host all all 0.0.0.0/0 trust" >>/data/pg_hba.conf
exec $as postgres -D /data -c "listen_addresses=*"
