# Runs a PostgreSQL server for tests: FOLDER_OF_PROGRAMS FOLDER [-c SETTING]… Data in the folder are used. It ends at the end of standard input.
programs=$1 folder=$2; shift 2
umask 077
[ -d "$folder/data" ] || "$programs/initdb" --pgdata "$folder/data" --username latchkey --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync >"$folder/log" 2>&1 || echo "database system is shut down" >>"$folder/log"
"$programs/postgres" -D "$folder/data" -k "$folder" -c unix_socket_permissions=0700 -c fsync=off -c full_page_writes=off \
    -c max_connections=200 -c shared_buffers=32MB -c autovacuum=off "$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
read -r _
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$folder"
