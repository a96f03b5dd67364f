// Compiled at run time: outerScript -> burnHeavy (about 3/4) and burnLight (about 1/4).
function burnHeavy(rounds) {
  let sum = 0;
  for (let round = 0; round < rounds; round++) sum = (sum * 31 + round) % 1000003;
  return sum;
}
function burnLight(rounds) {
  let sum = 1;
  for (let round = 0; round < rounds; round++) sum = (sum * 33 + round) % 1000003;
  return sum;
}
function outerScript() {
  return burnHeavy(300000 + Math.floor(Math.random() * 300000)) + burnLight(100000 + Math.floor(Math.random() * 100000));
}
const deadline = Date.now() + 120000;
let sum = 0;
for (let warm = 0; warm < 200; warm++) sum += outerScript();
console.log('ready');
function turn() {
  for (let cycle = 0; cycle < 20; cycle++) sum += outerScript();
  if (Date.now() < deadline) setImmediate(turn);
}
process.on('SIGTERM', () => process.exit(0));
setImmediate(turn);
