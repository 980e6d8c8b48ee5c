"""The study: what switches for virtual machines can do, measured in one sitting (see ../../study)."""
