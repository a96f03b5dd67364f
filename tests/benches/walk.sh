# Both ways in turns, over one program.

# CPU time of the workload so far in hundredths of a second, and nanoseconds of the program that samples. Runs over other
# processes cost next to nothing, and how many there are depends on what the agent does meanwhile.
statistics() {
    set -- "$1" $(cat "/proc/$program/stat")
    echo $((${15} + ${16}))
    for file in /proc/$1/fdinfo/*; do
        # BPF_PROG_TYPE_PERF_EVENT
        grep -q '^prog_type:.7$' "$file" || continue
        grep '^run_time_ns:' "$file" | cut -f 2
    done | head -n 1
}

echo 1 > /proc/sys/kernel/bpf_stats_enabled
./recursion 40 > /dev/null &
program=$!
for turn in 1 2; do
    for way in bpf_loop bounded; do
        ./profiler-agent record --walk "$way" -p "$program" -F 997 -d 1000 -o /tmp/profile.pb.gz 2> "/tmp/$way.err" &
        agent=$!
        # Two perf events a CPU, when it samples.
        until [ "$(ls -l "/proc/$agent/fd" | grep -c perf_event)" -ge 2 ]; do
            sleep 0.1
            kill -0 "$agent" || break
        done
        # Stacks are short until the unwind tables are there.
        sleep 2
        before=$(statistics "$agent")
        sleep 3
        after=$(statistics "$agent")
        set -- $before $after
        echo "$way $(($3 - $1)) $(($4 - $2))" >> /tmp/costs
        kill -INT "$agent"
        wait "$agent"
    done
done
keep costs /tmp/costs
