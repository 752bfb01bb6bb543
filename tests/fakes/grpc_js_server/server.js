// A fake AI vendor on grpc-js: node server.js FOLDER OPENED_HEX
//
// Says its port, answers Open with the serialised response given, acknowledges every fifth request,
// and leaves each call's requests in FOLDER/N.bin (4 bytes of length before each). Ends with stdin.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');

const [folder, openedHex] = process.argv.slice(2);
const asIs = (bytes) => bytes;
let calls = 0;

function varint(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  bytes.push(value);
  return bytes;
}

// ConverseRequest.seq, field 1, is what a request begins with.
function seqOf(request) {
  let value = 0;
  for (let place = 1, shift = 0; ; place += 1, shift += 7) {
    value |= (request[place] & 127) << shift;
    if (request[place] < 128) return value;
  }
}

// ConverseResponse{seq = 1, ack = 14 {seq = 1}}
function ack(seq, of) {
  const inner = [0x08, ...varint(of)];
  return Buffer.from([0x08, ...varint(seq), 0x72, inner.length, ...inner]);
}

function converse(call) {
  const file = path.join(folder, `${calls++}.bin`);
  const requests = [];
  let said = 0;
  call.on('data', (request) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(request.length);
    requests.push(length, request);
    if (requests.length === 2) {
      said += 1;
      call.write(Buffer.from(openedHex, 'hex'));
    } else if (requests.length % 10 === 0) {
      said += 1;
      call.write(ack(said, seqOf(request)));
    }
  });
  call.on('end', () => {
    fs.writeFileSync(`${file}.part`, Buffer.concat(requests));
    fs.renameSync(`${file}.part`, file);
    call.end();
  });
  call.on('error', () => {});
}

const server = new grpc.Server();
const Converse = {
  path: '/voicefork.agent.v1.VoiceAgent/Converse',
  requestStream: true,
  responseStream: true,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
};
server.addService({ Converse }, { Converse: converse });
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
process.stdin.on('end', () => process.exit(0)).resume();
