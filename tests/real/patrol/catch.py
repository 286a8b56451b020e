import json,sys,threading
from http.server import *
LOG=[]
class H(BaseHTTPRequestHandler):
    def log_message(self,*a): pass
    def any(self):
        n=int(self.headers.get('Content-Length') or 0); raw=self.rfile.read(n)
        LOG.append({'method':self.command,'target':self.path,'body':json.loads(raw) if raw else None})
        out={'value':[],'runs':[],'dag_runs':[],'task_instances':[],'total_entries':0,'statuses':[],'clusters':[],'updates':[],'events':[]}
        b=json.dumps(out).encode()
        self.send_response(200); self.send_header('Content-Type','application/json'); self.send_header('Content-Length',str(len(b))); self.end_headers(); self.wfile.write(b)
    do_GET=do_POST=any
s=ThreadingHTTPServer(('127.0.0.1',0),H); threading.Thread(target=s.serve_forever,daemon=True).start()
BASE=f'http://127.0.0.1:{s.server_port}'
def mark(name):
    if LOG: print(json.dumps({'call':name,**LOG[-1]}))
    else: print(json.dumps({'call':name,'error':'nothing sent'}))
    LOG.clear()
