package nestor

import "errors"

// Level of a log line.
type Level uint8

// The levels, in the order of the contract.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

// File is one file of the catalog definition's folder.
type File struct {
	Path    string
	Content []byte
}

// EnvVar is one variable for a tool.
type EnvVar struct{ Name, Value string }

// Invocation is a granted tool to run.
type Invocation struct {
	// Tool is a name from the engine's grant, never a path.
	Tool string
	Args []string
	// Env holds only variables that the grant names.
	Env []EnvVar
	// Directory is relative to /work; empty is /work itself.
	Directory string
	// Stdin is nil when the tool gets none.
	Stdin     []byte
	TimeoutMs uint32
}

// Line is one line of a tool's output.
type Line struct {
	Stderr bool
	Text   string
}

// Child is a running tool. Close it when done; what still runs is then killed.
type Child interface {
	// NextLine answers the next line of output, in the order it was written,
	// and false when the tool ended.
	NextLine() (Line, bool)
	// Wait answers the exit code.
	Wait() (int, error)
	Kill()
	Close()
}

// Host is what the orchestrator offers to an engine. Engines call the
// functions of this package; tests put another Host in with [UseHost].
type Host interface {
	Log(level Level, message string, fields map[string]any)
	Progress(percent *uint8, message string)
	DefinitionFiles(under string) ([]File, error)
	SecretReference(name string) (string, error)
	StoreGet(key string) (value []byte, found bool, err error)
	StorePut(key string, value []byte) error
	StoreDelete(key string) error
	StoreKeys(prefix string) ([]string, error)
	Spawn(Invocation) (Child, error)
}

var host Host = noHost{}

// UseHost puts h in place of the host and answers a function that restores the
// one before. For tests; package nestortest has a ready one.
func UseHost(h Host) (restore func()) {
	before := host
	host = h
	return func() { host = before }
}

// Log writes a line into the operation's log. The host limits the rate; what
// exceeds it is counted and dropped.
func Log(level Level, message string, fields map[string]any) { host.Log(level, message, fields) }

// Progress reports how far the operation is, 0 to 100.
func Progress(percent uint8, message string) { host.Progress(&percent, message) }

// ProgressMessage reports what the operation does when there is no percentage.
func ProgressMessage(message string) { host.Progress(nil, message) }

// DefinitionFiles answers every file below under (relative, "" for all) of the
// catalog definition's folder in one call, sorted by path, paths relative to
// under. An error when there is no such folder or the files exceed the host's
// limit.
func DefinitionFiles(under string) ([]File, error) { return host.DefinitionFiles(under) }

// SecretReference answers a placeholder for a granted secret. The host puts the
// value in at the granted destination only; the engine never sees it.
func SecretReference(name string) (string, error) { return host.SecretReference(name) }

// StoreGet reads from the small durable map of this engine and resource.
func StoreGet(key string) (value []byte, found bool, err error) { return host.StoreGet(key) }

// StorePut writes to the small durable map of this engine and resource.
func StorePut(key string, value []byte) error { return host.StorePut(key, value) }

// StoreDelete removes a key; removing what is not there is a success.
func StoreDelete(key string) error { return host.StoreDelete(key) }

// StoreKeys answers the keys that begin with prefix.
func StoreKeys(prefix string) ([]string, error) { return host.StoreKeys(prefix) }

// Spawn runs a granted tool in the engine's checkout, outside WebAssembly and
// inside the host's OS sandbox. A [Denied] error names what was not granted.
func Spawn(i Invocation) (Child, error) { return host.Spawn(i) }

var errNoHost = errors.New("nestor: no host here; in a test use nestortest.New")

// noHost stands in where there is none: natively, outside a test.
type noHost struct{}

func (noHost) Log(Level, string, map[string]any)      {}
func (noHost) Progress(*uint8, string)                {}
func (noHost) DefinitionFiles(string) ([]File, error) { return nil, errNoHost }
func (noHost) SecretReference(string) (string, error) { return "", errNoHost }
func (noHost) StoreGet(string) ([]byte, bool, error)  { return nil, false, errNoHost }
func (noHost) StorePut(string, []byte) error          { return errNoHost }
func (noHost) StoreDelete(string) error               { return errNoHost }
func (noHost) StoreKeys(string) ([]string, error)     { return nil, errNoHost }
func (noHost) Spawn(Invocation) (Child, error)        { return nil, errNoHost }
