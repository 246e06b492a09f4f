package pairdir

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// checkPrivate asks who owns the folder: this user, or the Administrators or
// SYSTEM, to whom what an elevated process makes belongs. Who may enter follows
// from the folder's place, LocalAppData, which is the user's alone.
func checkPrivate(path string, _ fs.FileInfo) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("folder %s: owner unknown: %w", path, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("folder %s: owner unknown: %w", path, err)
	}
	self, err := userSID()
	if err != nil {
		return err
	}
	if owner.Equals(self) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid) {
		return nil
	}
	return fmt.Errorf("folder %s: belongs to another user (%s); choose another with %s or --dir", path, owner, Variable)
}

func userSID() (*windows.SID, error) {
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("cannot tell which user this is: %w", err)
	}
	return u.User.Sid, nil
}

// defaultPath asks the system for LocalAppData, which depends on the user alone.
func defaultPath() (string, error) {
	local, err := windows.KnownFolderPath(windows.FOLDERID_LocalAppData, 0)
	if err != nil {
		return "", fmt.Errorf("no LocalAppData folder: %w; set %s", err, Variable)
	}
	return filepath.Join(local, "pairguard"), nil
}
