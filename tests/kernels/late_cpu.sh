# Records a program on the second CPU, which comes online when the agent samples already.
./profiler-agent record -d 3000 -F 499 -o /tmp/profile.pb.gz 2> /tmp/record.err &
agent=$!
until [ "$(ls -l "/proc/$agent/fd" | grep -c perf_event)" -ge 2 ]; do
    sleep 0.1
    kill -0 "$agent" || break
done
echo 1 > /sys/devices/system/cpu/cpu1/online
# The agent looks once a second.
sleep 3
taskset 2 ./chain > /tmp/record.out &
pid=$!
sleep 4
kill -TERM "$pid"
wait "$pid"
kill -INT "$agent"
wait "$agent"
echo $? > /tmp/record.status
for part in out err status; do keep "record.$part" "/tmp/record.$part"; done
keep profile.pb.gz /tmp/profile.pb.gz
