# Records the whole machine while one program after the other works. $SECONDS_EACH is put in front of this.
./profiler-agent record -d 3000 -F 499 -o /tmp/profile.pb.gz 2> /tmp/record.err &
agent=$!
# Two perf events a CPU, when it samples.
until [ "$(ls -l "/proc/$agent/fd" | grep -c perf_event)" -ge 2 ]; do sleep 0.1; done

# work NAME ARGUMENTS..: runs a program for some seconds.
work() {
    "./$1" $2 > "/tmp/$1.truth" 2> "/tmp/$1.err" &
    pid=$!
    sleep "$SECONDS_EACH"
    kill -TERM "$pid"
    wait "$pid"
    keep "$1.truth" "/tmp/$1.truth"
    keep "$1.err" "/tmp/$1.err"
}

work_all
./swarm ./brief 60 > /tmp/swarm.truth
keep swarm.truth /tmp/swarm.truth

kill -INT "$agent"
wait "$agent"
echo $? > /tmp/record.status
keep record.status /tmp/record.status
keep record.err /tmp/record.err
keep profile.pb.gz /tmp/profile.pb.gz
