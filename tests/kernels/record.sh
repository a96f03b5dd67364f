# Records the whole guest while programs work: start_recording, any number of works, end_recording. It is put in front
# of scripts that use it; what it leaves is `profile.pb.gz`, `record.err`, `record.status`, where that is not 0 what the
# kernel said last as `kernel.log`, and `NAME.out` of programs.

start_recording() {
    ./profiler-agent record -d 3000 -F 997 -o /tmp/profile.pb.gz 2> /tmp/record.err &
    agent=$!
    # Two perf events a CPU, when it samples.
    until [ "$(ls -l "/proc/$agent/fd" | grep -c perf_event)" -ge 2 ]; do
        sleep 0.1
        kill -0 "$agent" || break
    done
    calm
    # The agent comes first when both want the CPU: what is started from here on is nicer.
    renice -n 10 $$
}

# calm: waits until the agent takes less than a fifth of the CPU. An emulated one is slow to read its first symbols, and
# when nobody works, the guest's time passes for nothing.
calm() {
    before=-100
    for _ in $(seq 100); do
        kill -0 "$agent" || return
        now=$(($(cut -d' ' -f14,15 "/proc/$agent/stat" | tr ' ' '+')))
        [ $((now - before)) -gt 20 ] || return
        before=$now
        sleep 1
    done
}

# begin NAME COMMAND..: starts a program and stops it while the agent gets to know its files.
begin() {
    name=$1
    shift
    "$@" > "/tmp/$name.out" 2> "/tmp/$name.err" &
    pid=$!
    sleep 0.1
    kill -STOP "$pid"
    sleep 1
    calm
}

# await NAME COMMAND..: starts a program that does nothing until SIGCONT, and lets the agent get to know it before that.
await() {
    name=$1
    shift
    START_ON=SIGCONT "$@" > "/tmp/$name.out" 2> "/tmp/$name.err" &
    pid=$!
    until grep -q waiting "/tmp/$name.err"; do
        sleep 0.1
        kill -0 "$pid" || break
    done
    sleep 1
    calm
}

# work HOW SECONDS NAME COMMAND..: lets a program work, which is started by `begin` or `await`.
work() {
    how=$1
    seconds=$2
    shift 2
    "$how" "$@"
    kill -CONT "$pid"
    sleep "$seconds"
    kill -TERM "$pid"
    wait "$pid"
    keep "$name.out" "/tmp/$name.out"
    keep "$name.err" "/tmp/$name.err"
}

end_recording() {
    kill -INT "$agent"
    wait "$agent"
    echo $? > /tmp/record.status
    keep record.status /tmp/record.status
    # Why the kernel killed it, if it did.
    if [ "$(cat /tmp/record.status)" != 0 ]; then
        dmesg | tail -n 60 > /tmp/kernel.log
        keep kernel.log /tmp/kernel.log
    fi
    keep record.err /tmp/record.err
    keep profile.pb.gz /tmp/profile.pb.gz
}
