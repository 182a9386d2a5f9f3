package main
import ("testing";"encoding/json";"github.com/requorum/requorum/planner")
func TestDbg(t *testing.T){
 ks:=[]kind{{file:none,list:voter,cond:up},{file:voter,list:voter,cond:up,moved:true}}
 w:=build(ks,&circumstances()[0])
 p:=planner.New(w.in)
 obs:=w.in.Observation
 for _,s:=range p.Steps { 
   o,err:=planner.Predict(obs,s.Action); t.Log(s.Kind,s.Target,err); obs=o
   if s.Kind=="stop" { b,_:=json.MarshalIndent(obs,""," "); t.Log(string(b)); w.in.Observation=obs; q:=planner.New(w.in); t.Log(q.Refusal,q.Passed); break } }
}
