// A web server whose pages each make Node.js work.
const {execFile, spawn} = require('child_process');
const fs = require('fs/promises');
const http = require('http');
const zlib = require('zlib');
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');

function primesBelow(limit) {
  let count = 0;
  for (let n = 2; n < limit; ++n) {
    let prime = true;
    for (let d = 2; d * d <= n && prime; ++d) prime = n % d !== 0;
    if (prime) ++count;
  }
  return count;
}

function inWorker(limit) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(__filename, {workerData: limit});
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

async function files() {
  const content = Buffer.alloc(1 << 20, 'aril ');
  await Promise.all([1, 2, 3, 4].map(n => fs.writeFile(`/tmp/file${n}`, content)));
  const back = await Promise.all([1, 2, 3, 4].map(n => fs.readFile(`/tmp/file${n}`)));
  const packed = zlib.gzipSync(Buffer.concat(back));
  return zlib.gunzipSync(packed).equals(Buffer.concat([content, content, content, content]));
}

function garbage() {
  let live = [];
  for (let n = 0; n < 400000; ++n) {
    live.push({n, text: `object ${n}`});
    if (live.length > 20000) live = live.slice(-1000);
  }
  return live[live.length - 1].text;
}

// A module of WebAssembly: (func (export "add") (param i32 i32) (result i32) ...)
function webassembly() {
  const bytes = new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 7, 1, 3,
    0x61, 0x64, 0x64, 0, 0, 10, 9, 1, 7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b]);
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.add(40, 2);
}

async function children() {
  const text = await new Promise((resolve, reject) => {
    const child = spawn('tr', ['a-z', 'A-Z']);
    let output = '';
    child.stdout.on('data', data => output += data);
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(`${output} ${code} ${signal}`));
    child.stdin.end('through tr');
  });
  const failed = await new Promise(resolve => {
    execFile('/bin/sh', ['-c', 'exit 3'], error => resolve(error.code));
  });
  const many = await Promise.all(Array.from({length: 10}, () => new Promise((resolve, reject) => {
    execFile('/usr/bin/true', error => error ? reject(error) : resolve(1));
  })));
  return `${text} ${failed} ${many.length}`;
}

const pages = {
  '/': () => 'hello from node',
  '/workers': async () => (await Promise.all([1, 2, 3, 4].map(n => inWorker(n * 20000)))).join(),
  '/children': children,
  '/files': files,
  '/garbage': garbage,
  '/webassembly': webassembly,
};

if (isMainThread) {
  http.createServer(async (request, response) => {
    try {
      response.end(String(await pages[request.url]()));
    } catch (error) {
      response.writeHead(500);
      response.end(String(error));
    }
  }).listen(8000);
  process.on('SIGTERM', () => process.exit(0));
} else {
  parentPort.postMessage(primesBelow(workerData));
}
