package pairdir

// maxAddress is sizeof(sun_path) less the final zero, unix(7).
const maxAddress = 107
