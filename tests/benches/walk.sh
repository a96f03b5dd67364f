# Both ways in turns, over one program.
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
        sleep 3
        for file in /proc/$agent/fdinfo/*; do
            # BPF_PROG_TYPE_PERF_EVENT
            grep -q '^prog_type:.7$' "$file" || continue
            runs=$(grep '^run_cnt:' "$file" | cut -f 2)
            nanoseconds=$(grep '^run_time_ns:' "$file" | cut -f 2)
            echo "$way $runs $nanoseconds" >> /tmp/costs
        done
        kill -INT "$agent"
        wait "$agent"
    done
done
keep costs /tmp/costs
