package e2e

// nobody is the other user whom the tests start as root.
const nobody = 65534
