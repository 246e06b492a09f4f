package supervisor

// What others have to know of a folder with supervisors.
const (
	// Shelf is the folder of the records of programs, below that of the supervisors.
	// Where there is none no supervisor ever ran.
	Shelf = shelfName
	// Mark is the environment variable by which a program is found again.
	Mark = tokenVariable
)
