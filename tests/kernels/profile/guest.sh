# Records the whole guest while one program after the other works. What is put in front of this says which they are:
# `each_program` calls what it is given for each with its name and arguments, for $SECONDS_EACH seconds.
PROFILER_LOG=debug ./profiler-agent record -d 3000 -F 997 -o /tmp/profile.pb.gz 2> /tmp/record.err &
agent=$!
# Two perf events a CPU, when it samples.
until [ "$(ls -l "/proc/$agent/fd" | grep -c perf_event)" -ge 2 ]; do
    sleep 0.1
    kill -0 "$agent" || break
done

# The agent comes first when both want the CPU: what is started from here on is nicer.
renice -n 10 $$

# begin NAME COMMAND..: starts a program and stops it while the agent gets to know its files: when nobody works, the
# guest's time passes for nothing.
begin() {
    name=$1
    shift
    "$@" > "/tmp/$name.truth" 2> "/tmp/$name.err" &
    pid=$!
    sleep 0.1
    kill -STOP "$pid"
    sleep 3
}

# work NAME ARGUMENTS: lets a program work for its seconds.
work() {
    begin "$1" "./$1" $2
    kill -CONT "$pid"
    sleep "$SECONDS_EACH"
    kill -TERM "$pid"
    wait "$pid"
    keep "$1.truth" "/tmp/$1.truth"
    keep "$1.err" "/tmp/$1.err"
}
each_program work

# By another name, so that its samples are not those of the swarm.
ln brief met-brief
begin met-brief ./met-brief
kill -KILL "$pid"
./swarm ./brief 60 > /tmp/brief.truth
keep brief.truth /tmp/brief.truth

kill -INT "$agent"
wait "$agent"
echo $? > /tmp/record.status
keep record.status /tmp/record.status
keep record.err /tmp/record.err
keep profile.pb.gz /tmp/profile.pb.gz
