int umlxstate_dummy;
