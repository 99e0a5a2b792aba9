package host
import ("os";"testing";"time";"context"
 "github.com/tetratelabs/wazero"
 "github.com/tetratelabs/wazero/api"
 "github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
 "github.com/shikra-sensor/shikra/sensor/internal/wasm")
func TestGoGuest(t *testing.T){
 b,_:=os.ReadFile("/tmp/go.wasm")
 t0:=time.Now()
 o,err:=wasm.Instrument(b,wasm.Limits{}); if err!=nil{t.Fatal(err)}
 t.Log("instrument",time.Since(t0),len(b),len(o)); os.WriteFile("/tmp/go.out.wasm",o,0644)
 for _,c:=range []struct{n string;b []byte}{{"plain",b},{"metered",o}} {
 ctx:=context.Background()
 r:=wazero.NewRuntimeWithConfig(ctx,runtimeConfig(Compiler))
 wasi_snapshot_preview1.MustInstantiate(ctx,r)
 n:=0
 r.NewHostModuleBuilder("shikra_v1").NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context,_ api.Module,s []uint64){n++;s[0]=100000}),nil,[]api.ValueType{api.ValueTypeI64}).Export("refill").Instantiate(ctx)
 t0=time.Now(); cm,err:=r.CompileModule(ctx,c.b); if err!=nil{t.Fatal(err)}
 t.Log(c.n,"compile",time.Since(t0))
 m,err:=r.InstantiateModule(ctx,cm,wazero.NewModuleConfig().WithStartFunctions("_initialize").WithStdout(os.Stdout)); if err!=nil{t.Fatal(err)}
 f:=m.ExportedFunction("run"); f.Call(ctx,1000)
 t0=time.Now(); out,err:=f.Call(ctx,2000000); t.Log(c.n,out,err,time.Since(t0),"refills",n)
 r.Close(ctx)
 }
}
