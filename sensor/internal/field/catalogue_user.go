package field

import "github.com/shikra-sensor/shikra/wasmabi"

func userFields() []*Field {
	return []*Field{
		threadField("user.uid", Uint, u32(wasmabi.ThreadUid), "Effective user id of the thread."),
		threadField("user.name", String, str(wasmabi.ThreadUserName), "Name of user.uid, or the text <NA> when the users database doesn't have it."),
		threadField("user.homedir", String, str(wasmabi.ThreadUserHome), "Home directory of user.uid."),
		threadField("user.shell", String, str(wasmabi.ThreadUserShell), "Login shell of user.uid."),
		threadField("user.loginuid", Int, Read{Offset: wasmabi.ThreadLoginuid, Width: I32},
			"User id that logged in, as the audit system keeps it; -1 for none. Ids above 2147483647 come out negative."),
		threadField("user.loginname", String, str(wasmabi.ThreadLoginuserName), "Name of user.loginuid, or the text <NA> when there is none."),
	}
}

func groupFields() []*Field {
	return []*Field{
		threadField("group.gid", Uint, u32(wasmabi.ThreadGid), "Effective group id of the thread."),
		threadField("group.name", String, str(wasmabi.ThreadGroupName), "Name of group.gid, or the text <NA> when the groups database doesn't have it."),
	}
}
