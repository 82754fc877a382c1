// The least that could pass for the job in Node.js: find the placement, choose one of its ten ready answers, send it.
const http = require('node:http');
const [host, port, size] = process.argv.slice(2);
const placements = new Map();
for (let i = 1; i <= 1000; i++) {
  const id = 'pl-' + String(i).padStart(7, '0');
  const ads = [];
  for (let j = 0; j < 10; j++) {
    const head = `{"placement":"${id}","fill":true,"creative":"${j}","markup":"`;
    ads.push(Buffer.from(head + 'x'.repeat(Number(size) - head.length - 2) + '"}'));
  }
  placements.set(id, ads);
}
http.createServer((req, res) => {
  const at = req.url.indexOf('placement=') + 10;
  const end = req.url.indexOf('&', at);
  const ads = placements.get(req.url.slice(at, end < 0 ? undefined : end));
  if (!ads) {
    res.writeHead(404, { 'Content-Length': 0 });
    return res.end();
  }
  const ad = ads[Math.floor(Math.random() * ads.length)];
  res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': ad.length, 'Cache-Control': 'no-store', 'Access-Control-Allow-Origin': '*' });
  res.end(ad);
}).listen(Number(port), host);
