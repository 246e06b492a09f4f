package supervisor

// What is in custody: a copy of everything that the active supervisor holds. Each
// item has a key; those of programs end with the program's name.
const (
	listenersKey   = "listeners"   // 2 descriptors: of the control socket, of the custody socket
	birthsKey      = "births"      // 1: the read end of the birth pipe
	environItem    = "environ/"    // 0: variables that programs have inherited; it ends with their sum
	definitionItem = "definition/" // 0: a definitionRecord
	runItem        = "run/"        // 0: a runRecord
	processItem    = "process/"    // 1: the handle of the process that the body, a processRecord, names
	outputItem     = "output/"     // 2: the read end of the output pipe, the log
)

// processRecord says whose handle is in custody.
type processRecord struct {
	Generation uint64 `json:"generation"`
}
