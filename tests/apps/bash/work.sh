# Prints the same on every run and ends with status 5.
set -u
trap 'echo "trap: exit"' EXIT
trap 'echo "trap: signal"' USR1

for i in 1 2 3; do echo $i | sed s/^/line/; done
echo "substitution $(echo a b c | tr a-z A-Z | { read -r line; echo "[$line]"; })"
(cd /tmp && echo "subshell $PWD" && exit 4)
echo "status $?"
kill -USR1 $$

sleep 60 &
sleep 0.3  # until it is no longer a copy of this shell, with its traps
kill -TERM $!
wait $!
echo "job $?"
false | true | (exit 3)
echo "pipeline ${PIPESTATUS[*]}"
diff <(echo 1) <(echo 2)
echo "process substitution $?"
for i in 5 3 1 4 2; do (echo "parallel $i") & done | sort
wait
wc -l <<TEXT
one
two
TEXT
exec 3>/tmp/aril-bash-work
echo "through a file" >&3
exec 3>&-
cat /tmp/aril-bash-work
coproc cat
echo "through a coprocess" >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"
echo "$line"
timeout 0.1 sleep 5
echo "timeout $?"
sh -c 'echo "$0 $1 from sh"' zero one
declare -A words
for word in a b a c a; do words[$word]=$((${words[$word]:-0} + 1)); done
echo "words ${words[a]} ${words[b]} ${#words[@]}"
exit 5
